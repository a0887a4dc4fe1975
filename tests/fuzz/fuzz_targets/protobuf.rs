//! Bytes are protocol buffers, or refused. The fields that were read can be written again, and are read alike.
#![no_main]

use gin_shared::pprof::Profile;
use gin_shared::protobuf::{Field, Reader, Writer};
use libfuzzer_sys::fuzz_target;

/// Reads all fields, and tries each as a message, too.
fn read(bytes: &[u8], depth: usize) -> Option<Vec<(u32, Field<'_>)>> {
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::new();
    while let Some((number, field)) = reader.next().ok()? {
        let _ = Reader::numbers(field);
        if let (Field::Bytes(bytes), true) = (field, depth > 0) {
            let _ = read(bytes, depth - 1);
        }
        fields.push((number, field));
    }
    Some(fields)
}

fuzz_target!(|data: &[u8]| {
    if let Some(fields) = read(data, 3) {
        let mut writer = Writer::new();
        for (number, field) in &fields {
            match field {
                Field::Number(value) => writer.number_always(*number, *value),
                Field::Fixed64(value) => writer.double_always(*number, f64::from_bits(*value)),
                Field::Bytes(bytes) => writer.message(*number, |message| message.raw(bytes)),
                Field::Fixed32(value) => writer.fixed32(*number, *value),
            }
        }
        let again = read(writer.as_slice(), 0).expect("what was written is read");
        let kept = fields.into_iter().filter(|(_, field)| *field != Field::Fixed32(0));
        assert!(again.into_iter().eq(kept));
    }
    if let Ok(profile) = Profile::decode(data) {
        Profile::decode(&profile.encode()).expect("what was written is read");
    }
});
