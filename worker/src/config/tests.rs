//! What is read, what is refused, and from where each thing is.

mod traces;

use std::path::Path;
use std::time::Duration;

use gin_shared::reference::{Key, Kind, SECTIONS};
use serde::Deserialize;

use super::source::Read;
use super::*;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    greeting: String,
    #[serde(default)]
    tries: u32,
}

fn read(text: &str) -> Result<Config, Invalid> {
    Config::from_text(Path::new("shop.toml"), text)
}

/// What is wrong, a line each.
fn wrong(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

fn with(variables: &[(&str, &str)], text: &str, flags: Overrides) -> Result<Config, Invalid> {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::of(Read::from_text(Path::new("shop.toml"), text, flags, &find)?)
}

#[test]
fn documented_defaults_are_those_in_force_and_examples_are_accepted() {
    fn write(prefix: &str, keys: &[Key], value: fn(&Key) -> &str, text: &mut String) {
        text.push_str(&format!("[{prefix}]\n"));
        for key in keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_)) && !value(key).is_empty()) {
            text.push_str(&format!("{} = {}\n", key.name, value(key)));
        }
        for key in keys {
            if let Kind::Table(inner) = key.kind {
                write(&format!("{prefix}.{}", key.name), inner, value, text);
            }
        }
    }
    let (mut defaults, mut examples) = (String::new(), String::new());
    for section in SECTIONS.iter().filter(|section| section.name != "supervisor") {
        write(section.name, section.keys, |key| key.default, &mut defaults);
        write(section.name, section.keys, |key| key.example, &mut examples);
    }
    let Config { origin: _, logging, .. } = read(&defaults).unwrap();
    let config = Config {
        logging: Logging { format: None, ..logging },
        origin: source::Origins::default(),
        ..read(&defaults).unwrap()
    };
    assert_eq!(config, Config::default());
    // Authorities need a client that is asked, or a receiver over TLS, which are no defaults.
    let asked = examples.replacen("client_ca_file", "client_auth = \"required\"\nclient_ca_file", 1);
    let receiver = "[monitoring.jaeger]\nenable = false\nendpoint = \"https://collector:4317\"\n";
    read(&asked.replacen("[monitoring.jaeger]\nenable = true\n", receiver, 1)).unwrap();
}

#[test]
fn everything_wrong_is_told_at_once_with_its_line() {
    let text = "[server]\nprot = 80\nport = 70000\npublic = [\"/health\"]\n[timeouts]\nidle = 2\nread = \"0s\"\n\
                [cors]\nenable = true\nallow_credentials = true\n[statik]\n[limits]\nconnections = 0\n[security]\nenable_https = true\n";
    let told = wrong(text);
    for line in [
        "shop.toml:2: server.prot: unknown key; did you mean \"port\"?",
        "shop.toml:3: server.port: 70000 is out of range",
        "shop.toml:4: server.public: \"/health\" is none of",
        "shop.toml:6: timeouts.idle: expected a duration",
        "shop.toml:7: timeouts.read: it must be more than 0s",
        "cors.allow_origins: none may read anything",
        "shop.toml:11: statik: unknown section; did you mean [static]?",
        "shop.toml:13: limits.connections: 0 is out of range",
        "shop.toml:15: security.cert_file: missing; with enable_https = true it is needed, and key_file",
    ] {
        assert!(told.contains(line), "no \"{line}\" in\n{told}");
    }
    // Without the feature there is one more.
    let features = told.lines().filter(|line| line.contains("built without the feature \"tls\"")).count();
    assert_eq!((told.lines().count() - features, features), (9, usize::from(!cfg!(feature = "tls"))), "{told}");
}

#[test]
fn a_flat_key_of_the_documents_is_told_by_the_name_that_it_has_here() {
    let flat = "enable_hot_restart = true\npid_file = \"/run/a\"\nstatic_dir = \"./static\"\nportt = 1\n[server]\npid_file = \"/run/a\"\n";
    let told = wrong(flat);
    for line in [
        "shop.toml:1: enable_hot_restart: unknown key; it is features.hot_restart here",
        "shop.toml:2: pid_file: unknown key; it is supervisor.pid_file here",
        "shop.toml:3: static_dir: unknown key; it is static.dir here",
        "shop.toml:4: portt: unknown section",
        "shop.toml:6: server.pid_file: unknown key; it is supervisor.pid_file here",
    ] {
        assert!(told.contains(line), "no \"{line}\" in\n{told}");
    }
}

#[test]
fn the_command_line_counts_over_the_environment_and_that_over_the_file() {
    let file = "[server]\nport = 1\nname = \"file\"\n[timeouts]\nidle = \"1s\"\n[cors]\nenable = true\nallow_origins = \"https://a.org\"";
    let variables = [
        ("SERVER_PORT", "2"),
        ("GIN_SERVER_NAME", "variable"),
        ("SERVER_NAME", "less"),
        ("GIN_MODE", "debug"),
        ("CORS_ALLOW_METHODS", "GET, POST"),
        ("GIN_MONITORING_PROMETHEUS_PATH", "/numbers"),
    ];
    let flags = Overrides::default().integer("server", "port", "--port", Some(3));
    let config = with(&variables, file, flags.clone()).unwrap();
    assert_eq!((config.server.port, config.server.name.as_str(), config.server.mode), (3, "variable", Mode::Debug));
    assert_eq!((config.timeouts.idle, config.monitoring.path.as_str()), (Duration::from_secs(1), "/numbers"));
    assert_eq!(config.cors.allow_methods, ["GET", "POST"]);
    let shown = show(&config);
    let of = |key: &str| {
        shown.iter().find(|shown| shown.key == key).map(|shown| (shown.value.clone(), shown.source.clone())).unwrap()
    };
    let told = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(of("server.port"), told("3", "--port"));
    assert_eq!(of("server.name"), told("\"variable\"", "environment variable GIN_SERVER_NAME"));
    assert_eq!(of("timeouts.idle"), told("\"1s\"", "shop.toml:5"));
    assert_eq!(of("timeouts.read"), told("\"30s\"", "default"));
    assert_eq!(with(&[("PORT", "9")], "", Overrides::default()).unwrap().server.port, 9);
    let bad = Overrides::default().text("logging", "level", "--log-level", Some("loud".to_owned()));
    assert!(with(&[], "", bad).unwrap_err().to_string().starts_with("--log-level: logging.level: \"loud\" is not"));
}

#[test]
fn what_everybody_sees_is_the_default_or_what_is_written() {
    let public = |text: &str| read(text).unwrap().server.public;
    assert_eq!(public(""), ["/info", "/routes"]);
    let enable = "[monitoring.prometheus]\nenable = true\n";
    assert_eq!(public(enable), ["/info", "/routes", "/metrics"]);
    assert_eq!(public(&format!("[server]\npublic = []\n{enable}")), [""; 0]);
    assert_eq!(public(&format!("[server]\npublic = \"/info\"\n{enable}")), ["/info"]);
}

#[test]
fn a_limit_by_address_over_a_unix_socket_is_an_error() {
    let listen = "[[supervisor.listen]]\naddress = \"127.0.0.1:0\"\n[[supervisor.listen]]\nname = \"u\"\naddress = \"unix:/run/s\"\n";
    let limited = |more: &str| format!("[rate_limit]\nenable = true\n{more}{listen}");
    let told = wrong(&limited(""));
    assert!(told.starts_with("shop.toml:2: rate_limit.enable: clients over unix:/run/s have no address"), "{told}");
    let told = with(&[("GIN_RATE_LIMIT_ENABLE", "true")], listen, Overrides::default()).unwrap_err().to_string();
    assert!(told.starts_with("environment variable GIN_RATE_LIMIT_ENABLE: rate_limit.enable: "), "{told}");
    for fitting in [
        limited("without_address = \"one_bucket\"\n"),
        limited("without_address = \"unlimited\"\n"),
        limited("[server]\ntrusted_proxies = \"127.0.0.1\"\n"),
        "[rate_limit]\nenable = true\n[[supervisor.listen]]\naddress = \"127.0.0.1:0\"\n".to_owned(),
        listen.to_owned(),
    ] {
        read(&fitting).unwrap();
    }
}

#[test]
fn a_network_of_ipv4_in_ipv6_is_that_of_ipv4() {
    let config = read("[server]\ntrusted_proxies = [\"::ffff:10.0.0.0/104\", \"fd00::/8\"]\n").unwrap();
    let expected = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    assert_eq!(config.server.trusted_proxies, expected);
}

#[test]
fn what_kubernetes_sets_for_a_service_is_no_setting() {
    let kubernetes = [("REDIS_PORT", "tcp://10.0.0.1:6379"), ("REDIS_SERVICE_HOST", "10.0.0.1")];
    let config = with(&kubernetes, "", Overrides::default()).unwrap();
    assert_eq!(config.redis.port, 6379);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("REDIS_PORT=tcp://10.0.0.1:6379 is passed over"));
    // Docker's links come without the second; a service named "gin-redis" has the prefix, too.
    for name in ["SERVER_PORT", "REDIS_PORT", "GIN_REDIS_PORT"] {
        let config = with(&[(name, "tcp://10.0.0.1:8080")], "", Overrides::default()).unwrap();
        assert_eq!((config.server.port, config.redis.port), (8080, 6379));
        assert!(config.warnings[0].starts_with(&format!("environment variable {name}=tcp://10.0.0.1:8080 is passed")));
    }
}

#[test]
fn secrets_are_shown_to_nobody() {
    let text = "[database]\npassword = \"hunter2\"\nurl = \"mysql://shop:hunter2@db/shop\"\n[redis]\npassword = \"hunter2\"\n\
                [sessions]\nsecret = \"hunter2\"\n[auth]\nsecret = \"hunter2\"\n[security]\ncsrf_secret = \"hunter2\"\n\
                [monitoring]\njaeger = { headers = { authorization = \"hunter2\" } }\npprof = { token = \"hunter2 of profiles\" }\n\
                [app]\napi_token = \"hunter2\"\n";
    let config = read(text).unwrap();
    assert_eq!(config.database.password.as_deref(), Some("hunter2"));
    let all = format!("{:?} {config:?}", show(&config));
    assert!(!all.contains("hunter2"), "{all}");
    assert_eq!(show(&config).iter().filter(|shown| shown.value == "\"********\"").count(), 9);
    // A `main` that returns the error, or unwraps it, prints it so.
    let flags = Overrides::default().text("database", "password", "--password", Some("hunter2".to_owned()));
    let invalid = with(&[], &format!("{text}[server]\nprot = 1\n"), flags.clone()).unwrap_err();
    assert_eq!(format!("{invalid:?}"), "shop.toml:18: server.prot: unknown key; did you mean \"port\"?");
    assert_eq!(format!("{flags:?}"), "[\"database.password\"]");
}

#[test]
fn a_password_comes_by_a_variable_too() {
    let file = "[database]\ndriver = \"mysql\"\npassword_file = \"/run/secrets/none\"\n[redis]\npassword = \"\"\n";
    let config = with(&[("GIN_DATABASE_PASSWORD", "hunter2")], file, Overrides::default()).unwrap();
    assert_eq!(config.database.read_password(), Ok(Some("hunter2".to_owned())));
    // The documents' own file has an empty one.
    assert_eq!(config.redis.read_password(), Ok(None));
    let refused = read(file).unwrap().database.read_password().unwrap_err();
    assert!(refused.starts_with("database.password_file: cannot read /run/secrets/none: "), "{refused}");
}

#[test]
fn an_empty_file_is_no_secret_of_sessions() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut sessions = Sessions { secret_file: Some(file.path().to_owned()), ..Sessions::default() };
    for empty in ["", "\n"] {
        std::fs::write(file.path(), empty).unwrap();
        let refused = sessions.read_secret().unwrap_err();
        assert!(refused.starts_with("sessions.secret_file: /") && refused.contains(" is empty; "), "{refused}");
    }
    std::fs::write(file.path(), "from the file\n").unwrap();
    assert_eq!(sessions.read_secret(), Ok(Some("from the file".to_owned())));
    sessions.secret = Some("written".to_owned());
    std::fs::write(file.path(), "").unwrap();
    assert_eq!(sessions.read_secret(), Ok(Some("written".to_owned())));
    assert_eq!(Sessions::default().read_secret(), Ok(None));
}

#[test]
fn tls_to_a_unix_socket_is_an_error() {
    let redis = |host: &str| format!("[redis]\nhost = {host:?}\ntls = \"require\"\n");
    assert_eq!(read(&redis("cache.internal")).unwrap().redis.tls, RedisTls::Require);
    let told = wrong(&redis("/run/redis/redis.sock"));
    assert!(told.contains(":3") && told.contains("redis.host is a Unix socket"), "{told}");
}

#[test]
fn a_databases_port_is_its_kinds() {
    let port = |text: &str| read(&format!("[database]\n{text}")).unwrap().database.port;
    assert_eq!((port("driver = \"mysql\""), port("driver = \"postgres\"")), (3306, 5432));
    assert_eq!(port("driver = \"postgres\"\nport = 5433"), 5433);
    assert_eq!((read("").unwrap().database.driver, port("")), (Driver::Sqlite, 0));
}

#[test]
fn times_that_are_none_and_a_cookie_without_a_name_are_told() {
    let told = wrong(
        "[database]\nacquire_timeout = \"0s\"\n[sessions]\nidle = \"0s\"\ncookie = \"a b\"\n[cache]\nttl = \"0s\"\n",
    );
    for line in [
        "shop.toml:2: database.acquire_timeout: it must be more than 0s",
        "shop.toml:4: sessions.idle: it must be more than 0s",
        "shop.toml:5: sessions.cookie: \"a b\" cannot name a cookie",
        "shop.toml:7: cache.ttl: it must be more than 0s",
    ] {
        assert!(told.contains(line), "no \"{line}\" in\n{told}");
    }
}

#[test]
fn keys_of_tokens_have_the_files_of_their_algorithm() {
    let keys = |text: &str| read(&format!("[auth]\n{text}")).map(|config| config.auth.keys);
    let two = keys(
        "[[auth.keys]]\nkid = \"b\"\nalgorithm = \"ES256\"\nprivate_key_file = \"/run/b\"\n\
         [[auth.keys]]\nkid = \"a\"\nsecret_file = \"/run/a\"\n",
    );
    let two = two.unwrap();
    assert_eq!((two[0].algorithm, two[1].algorithm, two[1].kid.as_str()), (Some(Algorithm::Es256), None, "a"));
    for (text, problem) in [
        ("keys = [{ secret_file = \"/run/a\" }]", "auth.keys.kid: missing; write kid"),
        ("keys = [{ kid = \"a\" }]", "auth.keys.kid: a key of HS256, HS384 or HS512 has a secret_file"),
        ("algorithm = \"EdDSA\"\nkeys = [{ kid = \"a\", secret_file = \"/run/a\" }]", "auth.keys.kid: a key of ES256"),
        (
            "keys = [{ kid = \"a\", secret_file = \"/run/a\" }, { kid = \"a\", secret_file = \"/run/b\" }]",
            "auth.keys.kid: another key has this name",
        ),
        ("password_lanes = 16\npassword_memory = \"64KiB\"", "auth.password_memory: it must be at least 8KiB"),
        ("absolute = \"0s\"", "auth.absolute: it must be more than 0s"),
        ("algorithm = \"none\"", "auth.algorithm: \"none\" is not"),
    ] {
        let told = keys(text).unwrap_err().to_string();
        assert!(told.contains(problem), "no \"{problem}\" in {told}");
    }
}

#[test]
fn endings_of_uploads_and_origins_are_checked() {
    let config = read("[uploads]\nallow = [\".PDF\", \"md\"]\n[security]\ncsrf_origins = \"https://a.org\"\n").unwrap();
    assert_eq!(config.uploads.allow, ["pdf", "md"]);
    assert_eq!(config.security.csrf_origins, [Origin::Exactly("https://a.org".to_owned())]);
    let told = wrong("[uploads]\nallow = [\"tar.gz\"]\nfile = \"0\"\n[security]\ncsrf_origins = [\"*\"]\n");
    for line in [
        "shop.toml:2: uploads.allow: \"tar.gz\" is no ending of a file",
        "shop.toml:3: uploads.file: it must be more than 0",
        "shop.toml:5: security.csrf_origins: \"*\" would let every page in",
    ] {
        assert!(told.contains(line), "no \"{line}\" in\n{told}");
    }
}

#[test]
fn a_quota_has_room_for_the_largest_file() {
    let resumable = read("[uploads]\nresumable = true\n").unwrap().uploads;
    assert!(resumable.resumable_file <= resumable.quota / 4, "the defaults leave room for other files");
    for text in ["quota = \"10MiB\"", "quota = \"0\"\nfile = \"10GiB\"", "resumable_file = \"10GiB\""] {
        read(&format!("[uploads]\n{text}\n")).unwrap();
    }
    let told = wrong("[uploads]\nfile = \"1MiB\"\nquota = \"1000KiB\"\n");
    let text = "shop.toml:3: uploads.quota: 1024000 bytes have no room for a file of uploads.file, 1048576 bytes";
    assert!(told.contains(text), "{told}");
    let told = wrong("[uploads]\nresumable = true\nresumable_file = \"1GiB\"\nquota = \"1GiB\"\n");
    assert!(told.contains("no room for an upload of uploads.resumable_file, 1073741824 bytes"), "{told}");
}

#[test]
fn of_the_applications_own_only_what_is_declared_public_is_shown() {
    let text = "[app]\njwt = \"hunter2\"\nsalt = 7\nlist = [\"hunter2\"]\ncolour = \"red\"\n\
                [app.smtp]\nlogin = \"hunter2\"\nhost = \"mail\"\n";
    let config = read(text).unwrap();
    let own = |public: &[&str]| {
        let all = show_public(&config, public).into_iter().filter(|shown| shown.key.starts_with("app."));
        all.map(|shown| (shown.key, shown.value)).collect::<Vec<_>>()
    };
    assert_eq!(own(&[]).len(), 6);
    // A table's name declares nothing of what is in it.
    for public in [&["smtp"][..], &[], &["host", "app.colour"]] {
        assert!(own(public).iter().all(|(_, value)| value == "\"********\""), "{:?}", own(public));
    }
    let shown: Vec<_> = own(&["colour", "smtp.host"]).into_iter().filter(|(_, value)| !value.contains('*')).collect();
    let expected = [("app.colour", "\"red\""), ("app.smtp.host", "\"mail\"")];
    assert_eq!(shown, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn the_applications_own_section_is_its_own_type() {
    let name = Path::new("shop.toml");
    let config = Config::<Settings>::from_text(name, "[app]\ngreeting = \"hi\"\ntries = 3\n").unwrap();
    assert_eq!(config.app, Settings { greeting: "hi".to_owned(), tries: 3 });
    assert_eq!(Config::<Settings>::from_text(name, "").unwrap().app, Settings::default());
    let error = Config::<Settings>::from_text(name, "[app]\ngreeting = \"hi\"\ntreis = 3\n").unwrap_err().to_string();
    assert!(error.starts_with("shop.toml:3: app: unknown field `treis`"), "{error}");
    // Who has no type for it passes it over.
    assert!(read("[app]\nanything = 1\n").is_ok());
}

#[test]
fn a_variable_of_the_applications_own_joins_tables() {
    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        a: u32,
        #[serde(default)]
        b: u32,
    }
    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        nested: Nested,
    }
    let of = |text: &str, variable: &str| {
        let mut read = Read::from_text(Path::new("shop.toml"), text, Overrides::default(), &|_| None).unwrap();
        let variables = [(variable.to_owned(), "7".to_owned())];
        read.app_from(variables.into_iter(), &app_path::of::<Own>);
        Config::<Own>::of(read)
    };
    assert_eq!(of("", "GIN_APP_NESTED_A").unwrap().app.nested, Nested { a: 7, b: 0 });
    let config = of("[app.nested]\na = 1\nb = 2\n", "GIN_APP_NESTED_A").unwrap();
    assert_eq!(config.app.nested, Nested { a: 7, b: 2 });
    // Whoever reads it again without the type puts it in the same place.
    assert_eq!(config.origin.app_path("nested_a"), ["nested", "a"]);
    let wrong = of("", "GIN_APP_NETSED_A").unwrap_err().to_string();
    assert!(wrong.starts_with("environment variable GIN_APP_NETSED_A: app: unknown field `netsed_a`"), "{wrong}");
}

#[test]
fn three_formats_say_the_same() {
    let expected = read("[timeouts]\nidle = \"2s\"\n[static]\nindex_files = [\"a\", \"b\"]\n").unwrap();
    for (name, text) in [
        ("a.yaml", "timeouts:\n  idle: 2s\nstatic:\n  index_files:\n    - a\n    - b\nsupervisor: {workers: 2}\n"),
        ("a.json", "{\"timeouts\": {\"idle\": \"2s\"}, \"static\": {\"index_files\": [\"a\", \"b\"]}}"),
    ] {
        let config = Config::<()>::from_text(Path::new(name), text).unwrap();
        assert_eq!((config.timeouts, config.files), (expected.timeouts, expected.files.clone()), "{name}");
    }
    assert!(Config::<()>::from_text(Path::new("a.yaml"), "# nothing\n").is_ok());
}

#[test]
fn a_whole_configuration_of_another_service_is_taken_as_it_is() {
    let config = Config::<()>::from_text(Path::new("config.yaml"), include_str!("whole.yaml")).unwrap();
    assert_eq!(config.cors.allow_origins, [Origin::Any]);
    assert_eq!(config.cors.allow_methods, ["GET", "POST", "PUT", "DELETE", "OPTIONS"]);
    assert_eq!(config.files.index_files, ["index.html", "index.htm"]);
    assert_eq!(config.server.public, ["/info", "/routes", "/metrics"]);
    assert_eq!((config.rate_limit.rate, config.rate_limit.window), (100, Duration::from_secs(60)));
    assert_eq!((config.tracing.is_on, config.tracing.service_name.as_deref()), (true, Some("gin-web-server")));
    let old = "monitoring.jaeger.endpoint: http://localhost:14268/api/traces is Jaeger's old Thrift endpoint; traces go to \
               http://localhost:4317 (OTLP); write that";
    assert_eq!(config.warnings[0], old);
    let without = config.warnings[1..].iter().all(|warning| warning.starts_with("features.tracing: "));
    assert!(without && config.warnings.len() == if cfg!(feature = "otel") { 1 } else { 2 }, "{:?}", config.warnings);
}

#[test]
fn buckets_of_the_requests_histogram_ascend() {
    let buckets = |text: &str| {
        let config = read(&format!("[monitoring]\nbuckets = {text}\n")).unwrap();
        config.monitoring.buckets.iter().map(Duration::as_secs_f64).collect::<Vec<_>>()
    };
    assert_eq!(buckets("[0.0005, 0.1, 2]"), [0.0005, 0.1, 2.0]);
    let default = Config::<()>::default().monitoring.buckets;
    assert_eq!(default.iter().map(Duration::as_secs_f64).take(3).collect::<Vec<_>>(), [0.0005, 0.001, 0.0025]);
    let many = format!("{:?}", (1..=41).collect::<Vec<_>>());
    for (text, told) in [
        ("[]", "there are 0; it must be 1 to 40 numbers"),
        (many.as_str(), "there are 41"),
        ("[0.1, 0.1]", "0.1 does not come before 0.1"),
        ("[1, 0.5]", "1 does not come before 0.5"),
        ("[0]", "0 is no bound"),
        ("[-1, 2]", "-1 is no bound"),
        ("[1, inf]", "inf is no bound"),
        ("[nan]", "NaN is no bound"),
        ("[\"1s\"]", "expected a number"),
        ("0.5", "expected a list of numbers"),
    ] {
        let wrong = wrong(&format!("[monitoring]\nbuckets = {text}\n"));
        assert!(wrong.contains("shop.toml:2: monitoring.buckets: ") && wrong.contains(told), "{text}: {wrong}");
    }
    let of_environment = with(&[("GIN_MONITORING_BUCKETS", "0.1, 1")], "", Overrides::default()).unwrap();
    assert_eq!(of_environment.monitoring.buckets, [100, 1000].map(Duration::from_millis));
    let wrong = with(&[("GIN_MONITORING_BUCKETS", "0.1, soon")], "", Overrides::default()).unwrap_err().to_string();
    assert!(wrong.contains("GIN_MONITORING_BUCKETS") && wrong.contains("expected numbers"), "{wrong}");
}

#[test]
fn an_origin_is_one_or_all_below_a_domain() {
    let below = Origin::Below("https://".to_owned(), ".example.org".to_owned());
    for (origin, is) in [
        ("https://a.example.org", true),
        ("https://a.b.example.org", true),
        ("https://example.org", false),
        ("http://a.example.org", false),
        ("https://.example.org", false),
        ("https://evil.org/.example.org", false),
        ("https://a.example.org.evil.org", false),
        ("https://evil:1@a.example.org", false),
        ("null", false),
    ] {
        assert_eq!(below.is(origin), is, "{origin}");
    }
    for bad in ["example.org", "https://", "https://a/b", "https://*", "https://a.*.org"] {
        assert!(wrong(&format!("[cors]\nallow_origins = [{bad:?}]\n")).contains("is no origin"), "{bad}");
    }
}
