//! A site's first files.
pub mod store_tls;
