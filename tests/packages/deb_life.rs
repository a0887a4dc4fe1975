//! The whole life of the deb, as an administrator types it.

use harness::{Change, Package};

use super::machine::Machine;

#[test]
#[ignore = "needs root, dpkg-dev, rpm, binutils and a root of debootstrap: tests/run --services"]
fn from_the_installation_to_the_purge_nobody_is_hurt_and_nothing_is_left() {
    let (one, two) = (Package::build("0.1.0", Change::None), Package::build("0.2.0", Change::OtherBuild));
    let machine = Machine::with(&[("one.deb", one.deb()), ("two.deb", two.deb())]);
    let (files, mut names) = (machine.files(), machine.names());
    machine.ok("dpkg -i one.deb");
    machine.assert_idle();
    machine.start_services();

    let load = machine.load();
    // A newer one, an older one, and the same again.
    for (package, version) in [("two", "0.2.0-1"), ("one", "0.1.0-1"), ("one", "0.1.0-1")] {
        machine.replaces_in_place(&load, &format!("dpkg -i {package}.deb"));
        assert_eq!(machine.ok("dpkg-query -W -f ${db:Status-Status}:${Version} gin"), format!("installed:{version}"));
    }
    machine.ok("systemctl reload gin-server gin@shop");
    load.flows(100);
    Machine::unhurt(load);

    machine.removes("dpkg -r gin");
    assert_eq!(machine.run("ls /usr/bin/gin-ctl").0, 2);
    assert!(machine.ok("ls /etc/gin /etc/default").contains("gin-server.toml"), "a removal keeps the configuration");
    // A unit of one's own by the name of the package's may serve on, so what it has kept stays.
    let own = "/etc/systemd/system/gin-server.service";
    machine.write(own, "[Service]\nExecStart=sleep infinity\n");
    let said = machine.ok("dpkg -P gin");
    assert!(said.contains(&format!("gin: /var/lib/gin/gin-server stays, for {own} may use it")), "{said}");
    machine.ok("ls /var/lib/gin/gin-server");
    // A mask is none. What is enabled beside it would start at boot once the package is back.
    machine.ok(&format!("rm {own}"));
    machine.ok("dpkg -i one.deb");
    machine.ok("systemctl enable gin-server");
    machine.ok("systemctl mask gin-server");
    machine.ok("dpkg -P gin");
    machine.ok(&format!("rm {own}"));
    machine.ok("systemctl daemon-reload");
    // A service's own configuration is not the package's.
    let left: Vec<String> = machine.files().difference(&files).cloned().collect();
    assert_eq!(left, ["/etc/gin", "/etc/gin/shop.toml"]);
    assert_eq!(files.difference(&machine.files()).count(), 0, "the package has taken files away");
    // The user and its group stay, for files may be theirs.
    let mut stay = machine.names();
    names.extend(["gin-server".to_owned(), "gin-server".to_owned()]);
    names.sort();
    stay.sort();
    assert_eq!(stay, names);
}
