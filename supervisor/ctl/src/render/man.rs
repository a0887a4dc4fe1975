//! gin-ctl(1): one page, with every command and its options.

use std::io;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::Cli;

/// The page, as groff source.
///
/// # Errors
/// None is known to happen: it is written to memory.
pub fn page() -> io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone()).section("1").manual("User commands");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH COMMANDS\n");
    for one in command.get_subcommands() {
        let mut synopsis = Vec::new();
        let own = Man::new(one.clone());
        own.render_synopsis_section(&mut synopsis)?;
        let mut options = Vec::new();
        own.render_options_section(&mut options)?;
        let body = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines = text
                .lines()
                .filter(|line| !line.starts_with(".SH") && !line.starts_with(".ie") && !line.starts_with(".el"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let about = one.get_about().map(ToString::to_string).unwrap_or_default();
        let name = one.get_name();
        page.extend_from_slice(format!(".SS {name}\n{}\n.PP\n{about}\n{}\n", body(synopsis), body(options)).as_bytes());
    }
    page.extend_from_slice(
        b".SH EXIT STATUS\n0 done; 1 failed, and what served before still serves (status: degraded); 2 wrong usage or\n\
          configuration; 3 no supervisor there; 4 busy; 5 refused or not allowed; 6 timed out or cancelled.\n\
          .SH SEE ALSO\n.BR gin-supervisor (8),\n.BR gin-server (8),\n.BR gin.toml (5)\n",
    );
    Ok(String::from_utf8_lossy(&page).into_owned())
}
