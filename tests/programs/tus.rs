//! Uploads that the official client of tus resumes.
