//! The rate limit of several hosts together: two supervisors, each in a network namespace, and one Redis.

use std::collections::BTreeMap;
use std::thread;

use harness::{Address, Network, PASSWORD, Service, ServiceKind, Supervisor, free_port, get};

use crate::data::site::{SOON, site};

const RATE: usize = 200;
/// More than the rate allows in an hour comes within seconds: nothing is given back meanwhile but one request in 18 seconds.
const REQUESTS: usize = 400;

fn host(network: &Network, number: usize, redis: &Service, place: &str) -> Supervisor {
    let address =
        format!("[[supervisor.listen]]\nname = \"http\"\naddress = \"{}:{}\"\n", network.address(number), free_port());
    let limit = format!("[rate_limit]\nenable = true\nrate = {RATE}\nwindow = \"1h\"\nstore = \"redis\"\n");
    let redis = format!("[redis]\nhost = {place:?}\nport = {}\npassword = {PASSWORD:?}\n{SOON}", redis.port());
    let builder = site(2, "plain", &[&address, &limit, &redis]).without_listener();
    let program = network.supervisor(number, builder.dir());
    builder.program(&program).start()
}

/// Asks each of these in turn, by as many clients as there are places; gives how often each status came.
fn ask(places: &[Address], requests: usize) -> BTreeMap<u16, usize> {
    let statuses: Vec<u16> = thread::scope(|scope| {
        let client = |place: &Address| {
            let place = place.clone();
            scope.spawn(move || (0..requests / 8).map(|_| get(&place, "/").unwrap().status).collect::<Vec<_>>())
        };
        let clients: Vec<_> = (0..8).map(|number| client(&places[number % places.len()])).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let mut counts = BTreeMap::new();
    statuses.into_iter().for_each(|status| *counts.entry(status).or_default() += 1);
    counts
}

#[test]
#[ignore = "needs Redis and root: tests/run --services"]
fn two_hosts_allow_together_what_one_allows() {
    let network = Network::of(2);
    let own = network.own();
    let mut redis = Service::start_at(ServiceKind::Redis, &[&own]);
    let hosts = [0, 1].map(|number| host(&network, number, &redis, &own));
    let places = [hosts[0].tcp(), hosts[1].tcp()];

    let counts = ask(&places, REQUESTS);
    let allowed = counts.get(&200).copied().unwrap_or_default();
    assert!(allowed.abs_diff(RATE) <= 1, "{counts:?}");
    assert_eq!(allowed + counts.get(&429).copied().unwrap_or_default(), REQUESTS, "{counts:?}");
    let refused = get(&places[1], "/").unwrap();
    assert_eq!((refused.status, refused.headers["ratelimit-remaining"].as_str()), (429, "0"));

    // A restart and a rollback give nothing back.
    hosts[0].restart();
    assert_eq!(get(&places[0], "/").unwrap().status, 429);

    // Without Redis each host counts for itself, and nothing hangs.
    redis.kill();
    let counts = ask(&places, REQUESTS + 8);
    let allowed = counts.get(&200).copied().unwrap_or_default();
    assert!(counts.keys().all(|status| [200, 429].contains(status)), "{counts:?}");
    assert!((1..=2 * RATE + 2).contains(&allowed), "{counts:?}");
    for host in &hosts {
        let log = host.log();
        assert!(log.to_lowercase().contains("redis"), "it is told: {log}");
    }

    // It comes back with what it knew.
    redis.start_again();
    let refused = || get(&places[0], "/").unwrap().status;
    harness::eventually("Redis counts again", refused, |status| *status == 429);
    for host in hosts {
        host.stop();
    }
}
