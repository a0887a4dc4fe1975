//! A program of the documents under a supervisor.
