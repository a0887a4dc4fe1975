//! Sessions in Redis: each is a hash that Redis removes by itself when it expires. The ids of a user's sessions are a sorted set.
//!
//! Each change is one script, which Redis does whole or not at all, and one round trip. The keys that a script uses follow from the
//! contents of a session, so a cluster of several servers cannot have them. A script may run twice ([`Redis`] asks again when a connection
//! is lost), and then does no more than once.

use std::ops::Deref;
use std::sync::LazyLock;

use ::redis::{Script, cmd};

use super::now;
use super::record::{Millis, Row};
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::in_redis::{Rows, script};
use crate::redis::Redis;

/// Beginning of all keys.
const PREFIX: &str = "gin:session";

/// ARGV: id, new id, version or '', the user's key or '', data, created, expires, now.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
local old, new = KEYS[1] .. ':' .. ARGV[1], KEYS[1] .. ':' .. ARGV[2]
local version = 0
if ARGV[3] ~= '' then
  if redis.call('HGET', old, 'version') ~= ARGV[3] then
    -- Done already, and asked again because the answer was lost: nobody else knows the new id.
    return (old ~= new and redis.call('EXISTS', new)) or 0
  end
  local user = redis.call('HGET', old, 'user_key')
  if user and user ~= '' then redis.call('ZREM', of(user), ARGV[1]) end
  redis.call('DEL', old)
  version = tonumber(ARGV[3]) + 1
end
redis.call('HSET', new, 'user_key', ARGV[4], 'data', ARGV[5], 'created', ARGV[6], 'expires', ARGV[7], 'version', version)
redis.call('PEXPIREAT', new, ARGV[7])
if ARGV[4] ~= '' then
  redis.call('ZADD', of(ARGV[4]), ARGV[6], ARGV[2])
  keep(ARGV[4], tonumber(ARGV[7]), tonumber(ARGV[8]))
end
return 1
",
    )
});

/// ARGV: id, expires, now.
static TOUCH: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
local key = KEYS[1] .. ':' .. ARGV[1]
local before = redis.call('HGET', key, 'expires')
if not before or tonumber(before) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', key, 'expires', ARGV[2])
redis.call('PEXPIREAT', key, ARGV[2])
local user = redis.call('HGET', key, 'user_key')
if user and user ~= '' then
  -- The list may be gone before its sessions: evicted, or expired by a clock that is not the workers'.
  redis.call('ZADD', of(user), redis.call('HGET', key, 'created'), ARGV[1])
  keep(user, tonumber(ARGV[2]), tonumber(ARGV[3]))
end
return 1
",
    )
});

/// Sessions in a server.
pub(super) struct InRedis(Rows);

impl Deref for InRedis {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.0
    }
}

/// A session's fields as they are asked for.
type Fields = (Option<String>, Option<String>, Option<i64>, Option<i64>, Option<i64>);

impl InRedis {
    pub(super) fn new(redis: Redis) -> Self {
        Self(Rows::new(redis, PREFIX))
    }

    pub(super) async fn load(&self, id: Id) -> Result<Option<Row>, BoxError> {
        let mut command = cmd("HMGET");
        command.arg(format!("{PREFIX}:{}", id.text()));
        for field in ["user_key", "data", "created", "expires", "version"] {
            command.arg(field);
        }
        let (user_key, data, created, expires, version): Fields = self.0.redis.run(&command).await?;
        let (Some(data), Some(created), Some(expires), Some(version)) = (data, created, expires, version) else {
            return Ok(None);
        };
        Ok(Some(Row { user_key: user_key.filter(|user| !user.is_empty()), data, created, expires, version }))
    }

    pub(super) async fn create(&self, id: Id, row: &Row) -> Result<(), BoxError> {
        self.write(id, id, "", row).await?;
        Ok(())
    }

    pub(super) async fn update(&self, id: Id, new: Id, row: &Row) -> Result<bool, BoxError> {
        self.write(id, new, &row.version.to_string(), row).await
    }

    async fn write(&self, id: Id, new: Id, version: &str, row: &Row) -> Result<bool, BoxError> {
        let mut script = WRITE.prepare_invoke();
        script.key(PREFIX).arg(id.text()).arg(new.text()).arg(version);
        script.arg(row.user_key.as_deref().unwrap_or_default()).arg(&row.data);
        script.arg(row.created).arg(row.expires).arg(now());
        let written: i64 = self.0.redis.run_script(&script).await?;
        Ok(written == 1)
    }

    pub(super) async fn touch(&self, id: Id, expires: Millis) -> Result<(), BoxError> {
        let mut script = TOUCH.prepare_invoke();
        script.key(PREFIX).arg(id.text()).arg(expires).arg(now());
        let _: i64 = self.0.redis.run_script(&script).await?;
        Ok(())
    }
}
