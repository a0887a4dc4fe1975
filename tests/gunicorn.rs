//! gunicorn as Debian ships it, unmodified.

use std::path::Path;

use harness::{Load, supervisor, times};

const APPLICATION: &str = "import os\ndef app(environ, start):\n    body = b'{\"pid\": %d}' % os.getpid()\n    \
                           start('200 OK', [('Content-Length', str(len(body)))])\n    return [body]\n";

#[test]
fn an_application_whose_import_fails_is_withdrawn_and_its_traceback_is_quoted() {
    assert!(Path::new("/usr/bin/gunicorn").exists(), "Debian's package gunicorn is installed");
    let builder = supervisor();
    let releases = builder.releases();
    let release = |name: &str, text: &str| {
        releases.release(name, "");
        std::fs::write(releases.path(name).join("shop.py"), text).unwrap();
    };
    release("good", APPLICATION);
    let command =
        format!("command = [\"/usr/bin/gunicorn\", \"shop:app\"]\ndirectory = {:?}\nsoak = \"1s\"", releases.current());
    let gin = builder.set(&command).start();
    let address = gin.tcp();
    let before = gin.workers();
    release("bad", "import orders\n");
    gin.ctl(&["restart"]).assert(1, &["missing=soaked", "exited with status 3", "nothing changed"]);
    assert_eq!(gin.workers(), before);

    release("better", APPLICATION);
    let load = Load::new().one_shot(&address, 4);
    for _ in 0..times(2, 10) {
        load.flows(50);
        gin.restart();
    }
    load.flows(50);
    load.finish().assert_unhurt();
    gin.stop();
}
