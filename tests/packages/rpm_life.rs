//! The whole life of the rpm. The machine is a Debian, so rpm knows none of its packages, and does not look for what gin needs.

use harness::{Change, Package};

use super::machine::Machine;

#[test]
#[ignore = "needs root, dpkg-dev, rpm, binutils and a root of debootstrap: tests/run --services"]
fn an_upgrade_a_downgrade_and_a_removal_by_rpm_hurt_nobody() {
    let (one, two) = (Package::build("0.1.0", Change::None), Package::build("0.2.0", Change::OtherBuild));
    let machine = Machine::with(&[("one.rpm", one.rpm()), ("two.rpm", two.rpm())]);
    let files = machine.files();
    let rpm = format!("rpm --dbpath {}", machine.path("rpm").display());
    machine.ok(&format!("{rpm} -i --nodeps one.rpm"));
    machine.assert_idle();
    machine.start_services();

    let load = machine.load();
    for (options, package, version) in [("", "two", "0.2.0"), (" --oldpackage", "one", "0.1.0")] {
        machine.replaces_in_place(&load, &format!("{rpm} -U --nodeps{options} {package}.rpm"));
        assert!(machine.ok(&format!("{rpm} -q gin")).contains(&format!("gin-{version}-1.")));
    }
    machine.ok("systemctl reload gin-server gin@shop");
    load.flows(100);
    Machine::unhurt(load);

    machine.removes(&format!("{rpm} -e --nodeps gin"));
    // A changed configuration is kept under another name. rpm has no purge: what gin-server has kept stays.
    let left: Vec<String> = machine.files().difference(&files).cloned().collect();
    let kept = [
        "/etc/gin",
        "/etc/gin/gin-server.toml.rpmsave",
        "/etc/gin/shop.toml",
        "/var/lib/gin",
        "/var/lib/gin/gin-server",
    ];
    assert_eq!(left, kept);
    assert_eq!(files.difference(&machine.files()).count(), 0, "the package has taken files away");
}
