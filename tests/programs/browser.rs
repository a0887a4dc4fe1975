//! Chromium on the pages of the programs.
