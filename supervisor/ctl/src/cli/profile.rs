//! The command line of `gin-ctl profile`.

use std::path::PathBuf;

use clap::Args;

/// Which workers, and what of them.
#[derive(Debug, Args)]
pub struct Profile {
    /// Which instance; may be left out when one runs. A number alone is a slot
    pub instance: Option<String>,
    /// The slot of one worker; without it all that serve
    pub slot: Option<u32>,
    /// For how many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub seconds: u64,
    /// How many samples for a second of processor time
    #[arg(long, default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub hz: u32,
    /// The memory that is in use now, by the functions that have asked for it; needs jemalloc in the service
    #[arg(long, conflicts_with_all = ["seconds", "hz"])]
    pub heap: bool,
    /// The file for go tool pprof [default: INSTANCE.pprof, which must not be there yet]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// A flame graph, too: a picture for a browser
    #[arg(long, value_name = "FILE.svg")]
    pub flame: Option<PathBuf>,
    /// Also workers of other generations, and those that drain
    #[arg(long)]
    pub all: bool,
}

impl Profile {
    /// The instance and the slot that are meant: a number alone is a slot.
    #[must_use]
    pub fn meant(&self) -> (Option<&str>, Option<u32>) {
        let name = self.instance.as_deref();
        match (name.and_then(|text| text.parse().ok()), self.slot) {
            (Some(slot), None) => (None, Some(slot)),
            (Some(_) | None, slot) => (name, slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command};

    fn meant(args: &[&str]) -> Result<(Option<String>, Option<u32>), String> {
        let cli = Cli::try_parse_from(["gin-ctl", "profile"].iter().chain(args));
        let Command::Profile(profile) = cli.map_err(|error| error.to_string())?.command else { panic!("{args:?}") };
        let (instance, slot) = profile.meant();
        Ok((instance.map(str::to_owned), slot))
    }

    #[test]
    fn a_number_alone_is_a_slot() {
        let shop = || Some("shop".to_owned());
        assert_eq!(meant(&[]), Ok((None, None)));
        assert_eq!(meant(&["shop"]), Ok((shop(), None)));
        assert_eq!(meant(&["0"]), Ok((None, Some(0))));
        assert_eq!(meant(&["shop", "2", "--seconds", "30"]), Ok((shop(), Some(2))));
        assert_eq!(meant(&["7", "2"]), Ok((Some("7".to_owned()), Some(2))));
        assert!(meant(&["shop", "two"]).unwrap_err().contains("two"));
    }

    #[test]
    fn what_a_worker_would_refuse_is_refused_at_once() {
        for args in [["--seconds", "0"], ["--seconds", "301"], ["--hz", "0"], ["--hz", "1000"]] {
            assert!(meant(&args).unwrap_err().contains(args[1]), "{args:?}");
        }
        assert!(meant(&["--heap", "--seconds", "5"]).unwrap_err().contains("--heap"));
        assert!(meant(&["--heap"]).is_ok());
    }
}
