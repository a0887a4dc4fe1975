//! Rows in Redis: each is a hash that Redis removes by itself when it expires. The ids of a user's rows are a sorted set, by the times at
//! which they were created.
//!
//! Each change is one script, which Redis does whole or not at all, and one round trip. KEYS[1] of a script is the beginning of all keys.

use std::sync::LazyLock;

use ::redis::{Script, cmd};

use super::id::Id;
use crate::BoxError;
use crate::redis::Redis;

/// Lets the list of a user's rows live as long as the one that lives longest.
const OF_USER: &str = "
local function of(user) return KEYS[1] .. 's-of:' .. user end
local function keep(user, ends, now)
  if redis.call('PTTL', of(user)) < ends - now then redis.call('PEXPIREAT', of(user), ends) end
end
";

/// ARGV: ids.
static DELETE: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
local deleted = 0
for _, id in ipairs(ARGV) do
  local key = KEYS[1] .. ':' .. id
  local user = redis.call('HGET', key, 'user_key')
  if user and user ~= '' then redis.call('ZREM', of(user), id) end
  deleted = deleted + redis.call('DEL', key)
end
return deleted
",
    )
});

/// ARGV: the user's key.
static LIST: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
local alive = {}
for _, id in ipairs(redis.call('ZREVRANGE', of(ARGV[1]), 0, -1)) do
  if redis.call('EXISTS', KEYS[1] .. ':' .. id) == 1 then
    alive[#alive + 1] = id
  else
    redis.call('ZREM', of(ARGV[1]), id)
  end
end
return alive
",
    )
});

/// A script that can ask for a user's list, `of`, and let it live, `keep`.
pub(crate) fn script(text: &str) -> Script {
    Script::new(&format!("{OF_USER}{text}"))
}

/// Rows in a server.
pub(crate) struct Rows {
    pub(crate) redis: Redis,
    /// Beginning of all keys.
    prefix: &'static str,
}

impl Rows {
    pub(crate) fn new(redis: Redis, prefix: &'static str) -> Self {
        Self { redis, prefix }
    }

    /// Removes rows. Returns how many of them there were.
    pub(crate) async fn delete(&self, ids: &[Id]) -> Result<u64, BoxError> {
        let mut script = DELETE.prepare_invoke();
        script.key(self.prefix);
        for id in ids {
            script.arg(id.text());
        }
        Ok(self.redis.run_script(&script).await?)
    }

    /// The rows of the user with this key, the newest first. Those that have expired are not there, so no time is asked for.
    pub(crate) async fn of_user(&self, user_key: &str, _: i64) -> Result<Vec<Id>, BoxError> {
        let mut script = LIST.prepare_invoke();
        script.key(self.prefix).arg(user_key);
        let ids: Vec<String> = self.redis.run_script(&script).await?;
        Ok(ids.iter().filter_map(|id| Id::parse(id)).collect())
    }

    /// Redis does it by itself.
    pub(crate) async fn sweep(&self, _: i64) -> Result<u64, BoxError> {
        Ok(0)
    }

    /// Redis cannot tell without a look at every key.
    pub(crate) async fn count(&self) -> Result<Option<u64>, BoxError> {
        Ok(None)
    }

    pub(crate) fn is_shared(&self) -> bool {
        true
    }

    pub(crate) async fn ping(&self) -> Result<(), BoxError> {
        let _: String = self.redis.run(&cmd("PING")).await?;
        Ok(())
    }

    /// The connections are shared with others.
    pub(crate) async fn close(&self) {}
}
