//! Packages that do not do what was hoped for: the old programs serve on, and the reason is told.

use harness::{Change, Load, Package, eventually, get};

use super::machine::{INSTALLED, Machine, REPLACED};

/// The version that dpkg has, if it is installed in whole.
fn version(machine: &Machine) -> String {
    machine.ok("dpkg-query -W -f ${db:Status-Status}:${Version} gin")
}

#[test]
#[ignore = "needs root, dpkg-dev, rpm, binutils and a root of debootstrap: tests/run --services"]
fn what_is_not_fit_is_told_and_the_old_serves_on() {
    let fit = Package::build("0.1.0", Change::None);
    let server = Package::build("0.2.0", Change::BadServer);
    let supervisor = Package::build("0.3.0", Change::BadSupervisor);
    let machine =
        Machine::with(&[("fit.deb", fit.deb()), ("server.deb", server.deb()), ("supervisor.deb", supervisor.deb())]);
    machine.ok("dpkg -i fit.deb");
    machine.start_services();
    let load = machine.load();
    load.flows(100);
    let (masters, workers) = (machine.masters(), machine.workers("gin-server"));
    let unchanged = |said: &str| {
        load.flows(100);
        assert_eq!((machine.masters(), machine.workers("gin-server")), (masters.clone(), workers.clone()), "{said}");
    };

    // The new supervisor asks the new gin-server before it takes over. A service of one's own has another program.
    let said = machine.ok("dpkg -i server.deb");
    unchanged(&said);
    assert_eq!(machine.programs(), [REPLACED, INSTALLED], "{said}");
    assert!(said.contains("gin: gin-server: gin-ctl upgrade-supervisor failed: "), "{said}");
    assert!(said.contains("gin: shop: gin-supervisor "), "{said}");

    let said = machine.ok("dpkg -i supervisor.deb");
    unchanged(&said);
    assert_eq!(machine.programs(), [REPLACED; 2], "{said}");
    machine.ok("journalctl --sync");
    let journal = machine.ok("journalctl -t gin -o cat");
    for name in ["gin-server", "shop"] {
        let failed = format!("{name}: gin-ctl upgrade-supervisor failed: ");
        assert!(said.lines().any(|line| line.contains(&failed) && line.contains("exited with status 3")), "{said}");
        assert!(journal.lines().any(|line| line.starts_with(&failed)), "{journal}");
    }

    // Half a package is not unpacked.
    let bytes = std::fs::read(fit.deb()).unwrap();
    std::fs::write(machine.path("half.deb"), &bytes[..bytes.len() / 2]).unwrap();
    let (code, said) = machine.run("dpkg -i half.deb");
    assert_eq!(code, 1, "{said}");
    unchanged(&said);
    assert_eq!(version(&machine), "installed:0.3.0-1", "{said}");

    // A gin-ctl of another machine can ask nobody.
    machine.ok("cp /usr/bin/gin-ctl kept");
    machine.write("/usr/bin/gin-ctl", "#!/none\n");
    let said = machine.ok("/usr/libexec/gin/after-upgrade");
    assert!(said.contains("gin: /usr/bin/gin-ctl does not run on this machine; nothing was upgraded"), "{said}");
    machine.ok("cp kept /usr/bin/gin-ctl");

    // One that is fit mends all of it.
    machine.replaces_in_place(&load, "dpkg -i fit.deb");
    assert_eq!(version(&machine), "installed:0.1.0-1");
    Machine::unhurt(load);
}

#[test]
#[ignore = "needs root, dpkg-dev, rpm, binutils and a root of debootstrap: tests/run --services"]
fn an_instance_of_the_packages_gin_server_is_restarted_or_keeps_the_old_one() {
    let (one, two) = (Package::build("0.1.0", Change::None), Package::build("0.2.0", Change::OtherBuild));
    let unfit = Package::build("0.3.0", Change::BadServer);
    let machine = Machine::with(&[("one.deb", one.deb()), ("two.deb", two.deb()), ("unfit.deb", unfit.deb())]);
    machine.ok("dpkg -i one.deb");
    machine.start_front();
    let front = machine.address("front");
    let load = Load::new().keep_alive(&front, 4).one_shot(&front, 4);
    load.flows(100);
    let first = machine.workers("front");
    let said = machine.ok("dpkg -i two.deb");
    let second = machine.workers("front");
    assert_ne!(second, first, "{said}");
    load.flows(100);

    // Its configuration names the program, so it is the restart that meets the unfit one.
    let said = machine.ok("dpkg -i unfit.deb");
    let failed = said.lines().find(|line| line.starts_with("gin: front: gin-ctl restart failed: "));
    assert!(failed.is_some_and(|line| line.contains("exited with status 3")), "{said}");
    assert_eq!(machine.workers("front"), second, "{said}");
    load.flows(100);
    Machine::unhurt(load);
}

#[test]
#[ignore = "needs root, dpkg-dev, rpm, binutils and a root of debootstrap: tests/run --services"]
fn if_supervisors_die_under_an_unfit_package_their_workers_serve_until_a_fit_one_comes() {
    let (fit, unfit) = (Package::build("0.1.0", Change::None), Package::build("0.2.0", Change::BadSupervisor));
    let machine = Machine::with(&[("fit.deb", fit.deb()), ("unfit.deb", unfit.deb())]);
    machine.ok("dpkg -i fit.deb");
    machine.start_services();
    let load = machine.load();
    load.flows(100);
    let shop = machine.workers("shop");
    machine.ok("dpkg -i unfit.deb");
    machine.ok(&format!("kill -KILL {}", machine.masters().join(" ")));
    let restarts = || machine.properties("NRestarts");
    // systemd tells a test nothing, so its view is polled.
    eventually("systemd has tried three times", restarts, |counts| {
        counts.iter().all(|count| count.parse::<u32>().is_ok_and(|count| count >= 3))
    });
    load.flows(100);
    machine.ok("dpkg -i fit.deb");
    let states = || machine.properties("ActiveState");
    // The next attempt of systemd meets the fit program.
    eventually("both are started again", states, |states| states.iter().all(|state| state == "active"));
    assert_eq!((machine.programs(), machine.workers("shop")), ([INSTALLED; 2].map(str::to_owned), shop));
    load.flows(100);
    Machine::unhurt(load);
    assert_eq!(get(&machine.address("server"), "/").unwrap().status, 200);
}

#[test]
#[ignore = "needs root, dpkg-dev, rpm, binutils and a root of debootstrap: tests/run --services"]
fn the_default_file_says_how_much_an_upgrade_does() {
    let (one, two) = (Package::build("0.1.0", Change::None), Package::build("0.2.0", Change::OtherBuild));
    let machine = Machine::with(&[("one.deb", one.deb()), ("two.deb", two.deb())]);
    machine.ok("dpkg -i one.deb");
    machine.start_services();
    let load = machine.load();
    load.flows(100);
    let before = (machine.masters(), machine.workers("gin-server"), machine.workers("shop"));
    let cases = [
        ("no", "two", REPLACED, "gin: the supervisors that run go on as they are"),
        ("maybe", "one", REPLACED, "not \"maybe\"; nothing was upgraded"),
        ("supervisor", "two", INSTALLED, "gin: gin-server: gin-supervisor "),
    ];
    for (value, package, program, told) in cases {
        machine.write("/etc/default/gin", &format!("GIN_AFTER_UPGRADE={value}\n"));
        let said = machine.ok(&format!("dpkg -i {package}.deb"));
        load.flows(100);
        assert_eq!(machine.programs(), [program; 2], "{value}: {said}");
        assert!(said.contains(told), "{value}: {said}");
        // No worker was touched by any of these.
        let after = (machine.masters(), machine.workers("gin-server"), machine.workers("shop"));
        assert_eq!(after, before, "{value}: {said}");
    }
    Machine::unhurt(load);
}
