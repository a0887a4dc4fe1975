//! Neither the master nor a worker needs a descriptor of its own to know its counts.

use harness::{Client, Scrape, Supervisor, free_port, get};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::service::{Place, REQUESTS, agreed, ask, counting, told};

/// Lets the master open so many descriptors more than it has. Returns its limit of before.
fn limit(gin: &Supervisor, spare: u64) -> Rlimit {
    let open = std::fs::read_dir(format!("/proc/{}/fd", gin.pid())).unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(master(gin), Resource::Nofile, Rlimit { current: Some(open + spare), maximum }).unwrap()
}

fn master(gin: &Supervisor) -> Option<Pid> {
    Pid::from_raw(gin.pid().as_raw())
}

#[test]
fn a_master_without_descriptors_answers_scrapes_when_it_has_some_again() {
    let port = free_port();
    let gin = counting(port).workers(2).start();
    ask(&gin, "/order?kind=tea", 10);
    let (address, pid) = (gin.tcp(), gin.pid());
    for spare in 0..6 {
        let before = limit(&gin, spare);
        let scrapers = [Place::control(&gin), Place::own(port)].map(|place| {
            let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", place.path);
            (place.name, Client::asking(&place.address, &request).unwrap())
        });
        // The service does not notice.
        assert_eq!(get(&address, "/").unwrap().status, 200);
        prlimit(master(&gin), Resource::Nofile, before).unwrap();
        for (name, mut client) in scrapers {
            let answer = client.response().unwrap_or_else(|failure| panic!("{name}, {spare} spare: {failure:?}"));
            assert_eq!(answer.status, 200, "{name}, {spare} spare");
            // It may lack what is read from files, and nothing of the workers' counts.
            assert_eq!(Scrape::from(&answer).value("shop_orders_total", &[]), 10.0, "{name}, {spare} spare");
        }
    }
    assert_eq!(gin.pid(), pid);
    agreed(&Place::all(&gin, port));
    gin.restart();
    gin.stop();
}

#[test]
fn a_worker_without_descriptors_counts_and_tells_all() {
    let gin = counting(free_port()).set("limits = { nofile = 400 }").start();
    ask(&gin, "/order?kind=tea", 3);
    let mut client = Client::connect(&gin.tcp()).unwrap();
    assert_eq!(client.get("/fill").unwrap().body, b"full\n");
    assert_eq!(client.get("/order?kind=tea").unwrap().status, 200);
    let answer = client.get("/metrics").unwrap();
    assert_eq!(Scrape::from(&answer).value("shop_orders_total", &[]), 4.0);
    let filled = told(&gin).value(REQUESTS, &[("route", "/fill")]);
    assert_eq!(filled, 1.0);
    // Its successor finds the counts, and goes on.
    gin.ctl(&["restart", "--wait-drained"]).assert(0, &["serves"]);
    ask(&gin, "/order?kind=tea", 3);
    assert_eq!(told(&gin).value("shop_orders_total", &[]), 7.0);
    drop(client);
    gin.stop();
}
