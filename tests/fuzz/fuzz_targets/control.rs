//! Bodies of control requests, packets of the channel, and snapshots of the machine.
#![no_main]

use gin_shared::channel::{FromMaster, FromWorker, decode};
use gin_shared::control::{CancelRequest, RestartRequest, ScaleRequest, StopRequest};
use gin_supervisor::machine::{Machine, snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = serde_json::from_slice::<RestartRequest>(data);
    let _ = serde_json::from_slice::<CancelRequest>(data);
    let _ = serde_json::from_slice::<ScaleRequest>(data);
    let _ = serde_json::from_slice::<StopRequest>(data);
    let _ = decode::<FromMaster>(data);
    let _ = decode::<FromWorker>(data);
    if let Ok(machine) = snapshot::read::<Machine>(data, "boot") {
        assert_eq!(snapshot::read(&snapshot::write(&machine, "boot").expect("it can be written"), "boot").ok(), Some(machine));
    }
});
