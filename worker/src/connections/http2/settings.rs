//! Settings of both sides: the client's, which the next hyper must hear, and our own, which it must be built with.

/// Settings that are kept: those of RFC 9113, 8441 and 9218. A client may send 65,536 ids; hyper passes over the others, too.
const KEPT: [u16; 8] = [1, 2, 3, 4, 5, 6, 8, 9];
/// Length of a setting in a SETTINGS frame: id and value.
const ENTRY: usize = 6;

/// Settings of the client, as far as it has sent any. They are kept of parked connections: so they are small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    values: [u32; KEPT.len()],
    /// A bit for each value: set if the client has sent it.
    heard: u8,
}

impl ClientSettings {
    /// Largest length of [`Self::payload`], in bytes.
    pub(super) const PAYLOAD_MAX: usize = KEPT.len() * ENTRY;

    /// Takes the payload of a SETTINGS frame. Of a setting that is there twice the last one counts.
    pub(super) fn hear(&mut self, payload: &[u8]) {
        for &[a, b, value @ ..] in payload.as_chunks::<ENTRY>().0 {
            let id = u16::from_be_bytes([a, b]);
            if let Some(place) = KEPT.iter().position(|kept| *kept == id) {
                self.values[place] = u32::from_be_bytes(value);
                self.heard |= 1 << place;
            }
        }
    }

    /// Payload of a SETTINGS frame that says the same.
    pub(super) fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(Self::PAYLOAD_MAX);
        for (place, (id, value)) in KEPT.iter().zip(&self.values).enumerate() {
            if self.heard & (1 << place) != 0 {
                payload.extend_from_slice(&id.to_be_bytes());
                payload.extend_from_slice(&value.to_be_bytes());
            }
        }
        payload
    }
}

/// Settings of ours that the client knows. The next hyper is built with them, whatever its worker's configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnSettings {
    /// Streams that the client may have open.
    pub(crate) max_streams: u32,
    /// Bytes of a body that it may send over one stream before they are read.
    pub(crate) window: u32,
    /// Bytes of bodies that it may send over all streams.
    pub(crate) connection_window: u32,
    /// Bytes of a request's head, with 32 more for each field.
    pub(crate) head_list: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u16, value: u32) -> Vec<u8> {
        [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
    }

    #[test]
    fn settings_that_were_heard_are_said_again() {
        let mut settings = ClientSettings::default();
        assert_eq!(settings.payload(), b"");
        settings.hear(&[entry(4, 1000), entry(1, 0), entry(9, 1), entry(1, 4096)].concat());
        settings.hear(&entry(4, 70_000));
        assert_eq!(settings.payload(), [entry(1, 4096), entry(4, 70_000), entry(9, 1)].concat());
        let mut again = ClientSettings::default();
        again.hear(&settings.payload());
        assert_eq!(again, settings);
    }

    #[test]
    fn of_all_65536_settings_eight_are_kept() {
        let mut settings = ClientSettings::default();
        for id in 0..=u16::MAX {
            settings.hear(&entry(id, u32::from(id)));
        }
        assert_eq!(settings.payload().len(), ClientSettings::PAYLOAD_MAX);
        assert!(!settings.payload().starts_with(&[0, 0]) && settings.payload().ends_with(&entry(9, 9)));
    }

    #[test]
    fn a_setting_that_is_cut_is_passed_over() {
        let mut settings = ClientSettings::default();
        settings.hear(&[&entry(2, 0)[..], &[0, 3, 0, 0]].concat());
        assert_eq!(settings.payload(), entry(2, 0));
    }
}
