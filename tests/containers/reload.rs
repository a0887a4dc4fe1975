//! A reload inside a container: the container and its connections are kept.

use harness::{Client, get};

use super::{NAME, Web, kept, recipe, service};

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn by_a_signal() {
    let web = Web::start(&recipe("gin.toml"), &[]);
    let (before, load) = (web.identity(), web.load());
    for round in 1..=3 {
        load.flows(100);
        web.engine.ok(&["kill", "--signal", "USR2", NAME]);
        web.until_log(&format!("generation {round} gone"));
    }
    kept(load);
    assert_eq!(web.status()["generations"][0]["generation"], 4, "{}", web.status());
    assert_eq!(web.identity(), before);
}

/// As Kubernetes changes the files of a ConfigMap.
#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn by_a_mounted_configuration_that_is_swapped() {
    let config = recipe("gin.toml");
    let web = Web::start(&config, &[]);
    let (before, load) = (web.identity(), web.load());
    for round in 1..=3 {
        load.flows(100);
        web.configure(&config.replace("name = \"gin\"", &format!("name = \"round {round}\"")));
        web.until_log(&format!("generation {round} gone"));
        let answer = get(&web.address(), "/").unwrap().json();
        assert_eq!(answer["name"], format!("round {round}"), "{answer}");
    }
    // One that cannot be used changes nothing.
    web.configure(&config.replace("port = 8080", "port = \"none\""));
    web.until_log("\"level\":\"ERROR\"");
    kept(load);
    assert_eq!(web.status()["generations"][0]["generation"], 4, "{}", web.status());
    assert_eq!(web.identity(), before);
}

#[test]
#[ignore = "needs root and Docker: tests/run --services"]
fn by_a_mounted_release_that_is_swapped() {
    let web = Web::start(&service(2), &[]);
    let (before, load) = (web.identity(), web.load());
    load.flows(100);
    web.releases().release("two", "ok");
    let said = web.ok(&["gin-ctl", "restart"]);
    assert!(said.contains("two"), "{said}");
    load.flows(100);
    // One that is unfit changes nothing, and whoever asked for it hears of it.
    web.releases().release("bad", "exit");
    let (code, said) = web.exec(&["gin-ctl", "restart"]);
    assert!(code != 0 && said.contains("exited with status 3"), "{code}: {said}");
    let report = kept(load);
    assert!(report.by_pid.len() > 2, "no worker of the new release has answered: {report:?}");
    assert_eq!(get(&web.address(), "/").unwrap().json()["release"], "two");
    assert_eq!(web.identity(), before);

    // What is under way at the end of the container is answered.
    let mut slow = Client::asking(&web.address(), "GET /slow?ms=2000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // It is being answered when another one has been.
    assert_eq!(get(&web.address(), "/").unwrap().status, 200);
    web.engine.ok(&["stop", NAME]);
    assert_eq!(slow.response().unwrap().status, 200);
    assert_eq!(web.inspect("{{.State.ExitCode}}"), "0");
}
