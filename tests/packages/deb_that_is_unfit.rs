//! Packages that do not do what was hoped for: the old programs serve on, and the reason is told.

use harness::{Change, Package};

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
    for name in ["gin-server", "shop"] {
        let failed = format!("{name}: gin-ctl upgrade-supervisor failed: ");
        assert!(said.lines().any(|line| line.contains(&failed) && line.contains("exited with status 3")), "{said}");
        let journal = machine.ok("journalctl -t gin -o cat");
        assert!(journal.lines().any(|line| line.starts_with(&failed)), "{journal}");
    }

    // Half a package is not unpacked.
    let bytes = std::fs::read(fit.deb()).unwrap();
    std::fs::write(machine.path("half.deb"), &bytes[..bytes.len() / 2]).unwrap();
    let (code, said) = machine.run("dpkg -i half.deb");
    assert_eq!(code, 1, "{said}");
    unchanged(&said);
    assert_eq!(version(&machine), "installed:0.3.0-1", "{said}");

    // One that is fit mends all of it.
    machine.replaces_in_place(&load, "dpkg -i fit.deb");
    assert_eq!(version(&machine), "installed:0.1.0-1");
    Machine::unhurt(load);
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
