//! A supervisor whose workers count, and the places that tell its metrics.

use std::collections::BTreeMap;

use harness::{Address, Builder, Failure, Scrape, Series, Supervisor, supervisor};

/// Start of the names of the workers' metrics, in these tests.
pub const WORKERS: &str = "shop_";
/// Start of the names of the supervisor's.
pub const SUPERVISORS: &str = "gin_";
/// Requests that were answered.
pub const REQUESTS: &str = "shop_http_requests_total";
/// Number of requests whose time was taken.
pub const DURATIONS: &str = "shop_http_request_duration_seconds_count";
/// Requests that wait for their answer.
pub const IN_FLIGHT: &str = "shop_http_requests_in_flight";

/// Sections of the configuration: everybody may scrape, the log has warnings alone.
const SECTIONS: &str = "[server]\npublic = [\"/metrics\"]\n[monitoring.prometheus]\nnamespace = \"shop\"\n\
                        [logging]\nlevel = \"warn\"\n";

/// A supervisor with this setting, whose workers are the fixture `counted`.
pub fn without_listener(setting: &str) -> Builder {
    supervisor().ours("one", "counted").set("soak = \"0s\"").set(setting).section(SECTIONS)
}

/// The same whose master tells its metrics at this port, too.
pub fn counting(port: u16) -> Builder {
    without_listener(&format!("metrics = \"127.0.0.1:{port}\""))
}

/// A section: each process has room for so many series.
pub fn series(count: usize) -> String {
    format!("[metrics]\nseries = {count}\n")
}

/// A place that tells the metrics.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name in messages.
    pub name: &'static str,
    /// Its address.
    pub address: Address,
    /// The target of a request there.
    pub path: &'static str,
}

impl Place {
    /// A worker, whichever accepts.
    pub fn public(gin: &Supervisor) -> Self {
        Self { name: "public listener", address: gin.tcp(), path: "/metrics" }
    }

    /// The control socket.
    pub fn control(gin: &Supervisor) -> Self {
        Self { name: "control socket", address: Address::Unix(gin.socket()), path: "/v1/metrics" }
    }

    /// The master's own listener.
    pub fn own(port: u16) -> Self {
        let address = Address::from(format!("127.0.0.1:{port}").as_str());
        Self { name: "supervisor.metrics", address, path: "/metrics" }
    }

    /// All three.
    pub fn all(gin: &Supervisor, port: u16) -> [Self; 3] {
        [Self::public(gin), Self::control(gin), Self::own(port)]
    }

    /// Asks it.
    pub fn try_scrape(&self) -> Result<Scrape, Failure> {
        Scrape::of(&self.address, self.path)
    }

    /// Asks it when it must answer.
    pub fn scrape(&self) -> Scrape {
        self.scrape_with("")
    }

    /// The same with a query.
    pub fn scrape_with(&self, query: &str) -> Scrape {
        let target = format!("{}{query}", self.path);
        Scrape::of(&self.address, &target).unwrap_or_else(|failure| panic!("{}: {failure:?}", self.name))
    }
}

/// The metrics that the control socket tells.
pub fn told(gin: &Supervisor) -> Scrape {
    Place::control(gin).scrape()
}

/// True if scrapes do not change this series, as they do those of the route `/metrics` and of connections.
fn is_still(series: &Series) -> bool {
    let requests = series.name == REQUESTS || series.name.starts_with("shop_http_request_duration_seconds");
    (requests && !series.has("route", "/metrics")) || series.name.starts_with("shop_order")
}

/// All places tell the same of what nothing changes now. Returns it.
pub fn agreed(places: &[Place]) -> Scrape {
    let still: Vec<Scrape> = places.iter().map(|place| place.scrape().only(is_still)).collect();
    for (place, scrape) in places.iter().zip(&still) {
        assert_eq!(scrape.samples(), still[0].samples(), "{} and {} differ", place.name, places[0].name);
    }
    still[0].clone()
}

/// Sends so many GETs, a connection each, so that each worker may get some. All are answered with 200.
pub fn ask(gin: &Supervisor, path: &str, times: usize) {
    let address = gin.tcp();
    for _ in 0..times {
        assert_eq!(harness::get(&address, path).unwrap().status, 200, "{path}");
    }
}

/// A number of the supervisor's own, for all counters that these tests compare.
pub fn own_counters(gin: &Supervisor) -> BTreeMap<Series, f64> {
    let own = told(gin).only(|series| series.name.starts_with(SUPERVISORS) && series.name.ends_with("_total"));
    let lasting = own.only(|series| !series.labels.contains_key("generation"));
    lasting.samples().clone()
}
