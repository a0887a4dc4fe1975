//! The only writers to stdout and stderr, with or without colours.

/// Writes a line to stdout. If its reader has closed it, nobody wants the line; the exit code still tells.
macro_rules! say {
    ($($part:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut anstream::stdout(), format_args!("{}\n", format_args!($($part)*)));
    }};
}

/// Writes to stdout without ending the line.
macro_rules! show {
    ($($part:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut anstream::stdout(), format_args!($($part)*));
    }};
}

/// Writes a line to stderr.
macro_rules! complain {
    ($($part:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut anstream::stderr(), format_args!("{}\n", format_args!($($part)*)));
    }};
}

pub(crate) use {complain, say, show};
