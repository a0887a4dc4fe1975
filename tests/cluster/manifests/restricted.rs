//! The profile "restricted" of Kubernetes' Pod Security Standards, of which "baseline" is a part, rule by rule.

use serde_json::{Value, json};

/// A rule about a pod: what it asks for, a look at a pod, and a change that breaks it.
struct Rule {
    says: &'static str,
    holds: fn(&Value) -> bool,
    /// A path in the pod, and the value that is put there.
    breach: (&'static str, &'static str),
}

/// Kinds of volumes that may be mounted.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
/// Settings of the kernel that are a pod's own.
const SYSCTLS: [&str; 5] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
];

const RULES: [Rule; 16] = [
    Rule {
        says: "no namespace of the host",
        holds: |pod| ["hostNetwork", "hostPID", "hostIPC"].iter().all(|key| !is_true(&pod[key])),
        breach: ("hostPID", "true"),
    },
    Rule {
        says: "no port of the host",
        holds: |pod| each(pod, |container| entries(&container["ports"]).all(|port| port["hostPort"].is_null())),
        breach: ("containers/0/ports/0/hostPort", "80"),
    },
    Rule {
        says: "volumes of these kinds alone",
        holds: |pod| {
            let kind =
                |volume: &Value| volume.as_object().and_then(|keys| keys.keys().find(|key| *key != "name").cloned());
            entries(&pod["volumes"]).all(|volume| kind(volume).is_some_and(|kind| VOLUMES.contains(&kind.as_str())))
        },
        breach: ("volumes/0", r#"{ "name": "configuration", "hostPath": { "path": "/etc" } }"#),
    },
    Rule {
        says: "not privileged",
        holds: |pod| each(pod, |container| !is_true(&container["securityContext"]["privileged"])),
        breach: ("containers/0/securityContext/privileged", "true"),
    },
    Rule {
        says: "no gain of rights",
        holds: |pod| each(pod, |container| container["securityContext"]["allowPrivilegeEscalation"] == false),
        breach: ("containers/0/securityContext/allowPrivilegeEscalation", "null"),
    },
    Rule {
        says: "no capability is kept",
        holds: |pod| {
            each(pod, |container| {
                entries(&container["securityContext"]["capabilities"]["drop"]).any(|name| name == "ALL")
            })
        },
        breach: ("containers/0/securityContext/capabilities/drop", r#"["NET_RAW"]"#),
    },
    Rule {
        says: "none is added but NET_BIND_SERVICE",
        holds: |pod| {
            let is_harmless = |name: &Value| name == "NET_BIND_SERVICE";
            each(pod, |container| entries(&container["securityContext"]["capabilities"]["add"]).all(is_harmless))
        },
        breach: ("containers/0/securityContext/capabilities/add", r#"["SYS_ADMIN"]"#),
    },
    Rule {
        says: "never root, by word",
        holds: |pod| own_or_pods(pod, "runAsNonRoot", |value| value == true),
        breach: ("containers/0/securityContext/runAsNonRoot", "false"),
    },
    Rule {
        says: "never root, by number",
        holds: |pod| own_or_pods(pod, "runAsUser", |value| value != 0),
        breach: ("securityContext/runAsUser", "0"),
    },
    Rule {
        says: "a filter of system calls",
        holds: |pod| {
            own_or_pods(pod, "seccompProfile", |value| {
                value["type"] == "RuntimeDefault" || value["type"] == "Localhost"
            })
        },
        breach: ("securityContext/seccompProfile/type", "\"Unconfined\""),
    },
    Rule {
        says: "AppArmor as it is",
        holds: |pod| own_or_pods(pod, "appArmorProfile", |value| value.is_null() || value["type"] != "Unconfined"),
        breach: ("containers/0/securityContext/appArmorProfile", r#"{ "type": "Unconfined" }"#),
    },
    Rule {
        says: "SELinux as it is",
        holds: |pod| own_or_pods(pod, "seLinuxOptions", Value::is_null),
        breach: ("securityContext/seLinuxOptions", r#"{ "user": "system_u" }"#),
    },
    Rule {
        says: "/proc as it is",
        holds: |pod| {
            each(pod, |container| {
                container["securityContext"]["procMount"].as_str().is_none_or(|kind| kind == "Default")
            })
        },
        breach: ("containers/0/securityContext/procMount", "\"Unmasked\""),
    },
    Rule {
        says: "settings of the kernel that are its own",
        holds: |pod| {
            let is_own = |setting: &Value| setting["name"].as_str().is_some_and(|name| SYSCTLS.contains(&name));
            entries(&pod["securityContext"]["sysctls"]).all(is_own)
        },
        breach: ("securityContext/sysctls", r#"[{ "name": "kernel.msgmax", "value": "1" }]"#),
    },
    Rule {
        says: "no process of a Windows host",
        holds: |pod| own_or_pods(pod, "windowsOptions", |value| !is_true(&value["hostProcess"])),
        breach: ("securityContext/windowsOptions/hostProcess", "true"),
    },
    Rule {
        says: "probes and hooks ask no other host",
        holds: |pod| {
            let asks_another = |ask: &Value| ["httpGet", "tcpSocket"].iter().any(|kind| !ask[kind]["host"].is_null());
            let asks = |container: &Value| {
                let probes = ["startupProbe", "livenessProbe", "readinessProbe"].map(|name| container[name].clone());
                let hooks = ["postStart", "preStop"].map(|name| container["lifecycle"][name].clone());
                probes.iter().chain(&hooks).any(asks_another)
            };
            each(pod, |container| !asks(container))
        },
        breach: ("containers/0/livenessProbe/httpGet/host", "\"example.com\""),
    },
];

fn is_true(value: &Value) -> bool {
    *value == true
}

/// Elements of a list, of which there are none where it is not written.
fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// True if it holds for each container of any kind, and there is one.
fn each(pod: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    let kinds = ["containers", "initContainers", "ephemeralContainers"];
    pod["containers"][0].is_object() && kinds.iter().flat_map(|kind| entries(&pod[kind])).all(holds)
}

/// True if it holds for a setting of each container, or for the pod's where a container has none.
fn own_or_pods(pod: &Value, key: &str, holds: impl Fn(&Value) -> bool) -> bool {
    each(pod, |container| {
        let own = &container["securityContext"][key];
        holds(if own.is_null() { &pod["securityContext"][key] } else { own })
    })
}

/// Rules that a pod breaks.
pub(super) fn broken(pod: &Value) -> Vec<&'static str> {
    RULES.iter().filter(|rule| !(rule.holds)(pod)).map(|rule| rule.says).collect()
}

/// Each rule, and this pod with a change that breaks it.
pub(super) fn breaches(pod: &Value) -> Vec<(&'static str, Value)> {
    let breach = |rule: &Rule| {
        let (path, value) = rule.breach;
        let mut changed = json!({ "pod": pod });
        let mut place = &mut changed["pod"];
        for part in path.split('/') {
            place = match part.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[part],
            };
        }
        *place = serde_json::from_str(value).unwrap();
        (rule.says, changed["pod"].take())
    };
    RULES.iter().map(breach).collect()
}
