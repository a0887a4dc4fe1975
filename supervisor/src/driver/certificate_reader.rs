//! The thread that reads certificates: there is one at a time, so that no older reading comes after a newer one.

/// What is read, and what becomes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum CertificateReader {
    /// Nothing is read.
    #[default]
    Rests,
    /// The files are read.
    Reads,
    /// The files are read, and somebody has asked for a look since: it follows.
    IsAskedAgain,
    /// The files are read, and the loop has read some of them since: the outcome does not count, and another look follows.
    IsOutdated,
}

/// The end of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// True if its outcome counts.
    pub(super) counts: bool,
    /// True if another reading follows.
    pub(super) is_followed: bool,
}

impl CertificateReader {
    /// Asks for a reading. Returns true if it is to begin now.
    pub(super) fn ask(&mut self) -> bool {
        let was = *self;
        *self = match was {
            Self::Rests => Self::Reads,
            Self::Reads | Self::IsAskedAgain => Self::IsAskedAgain,
            Self::IsOutdated => Self::IsOutdated,
        };
        was == Self::Rests
    }

    /// Notes that the loop has read files itself.
    pub(super) fn outdate(&mut self) {
        if *self != Self::Rests {
            *self = Self::IsOutdated;
        }
    }

    /// Notes the end of a reading.
    pub(super) fn end(&mut self) -> Ended {
        let was = std::mem::take(self);
        Ended { counts: was != Self::IsOutdated, is_followed: matches!(was, Self::IsAskedAgain | Self::IsOutdated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_ask_while_files_are_read_one_more_reading_comes() {
        let mut reader = CertificateReader::default();
        assert!(reader.ask());
        assert!(!reader.ask() && !reader.ask());
        assert_eq!(reader.end(), Ended { counts: true, is_followed: true });
        assert!(reader.ask());
        assert_eq!(reader.end(), Ended { counts: true, is_followed: false });
    }

    #[test]
    fn a_reading_that_began_before_the_loops_own_does_not_count() {
        let mut reader = CertificateReader::default();
        reader.outdate();
        assert!(reader.ask());
        reader.outdate();
        assert!(!reader.ask());
        assert_eq!(reader.end(), Ended { counts: false, is_followed: true });
        assert_eq!(reader, CertificateReader::Rests);
    }
}
