//! `docs/configuration.md` tells what the reading of configurations knows.

use std::fs;

use crate::config::{explain_keyword, keyword_reference};

const BEGIN: &str =
    "<!-- keywords: made by `XVRRP_WRITE_DOCS=1 cargo test -p vrrp-userspace documentation` -->\n";
const END: &str = "<!-- keywords: end -->\n";

#[test]
fn the_documentation_has_every_keyword() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let text = fs::read_to_string(path).expect("docs/configuration.md");
    let (before, rest) = text.split_once(BEGIN).expect("where keywords begin");
    let (_, after) = rest.split_once(END).expect("where they end");
    let wanted = format!("{before}{BEGIN}\n{}{END}{after}", keyword_reference());
    if std::env::var_os("XVRRP_WRITE_DOCS").is_some() {
        fs::write(path, &wanted).expect("write the documentation");
        return;
    }
    assert!(
        text == wanted,
        "docs/configuration.md is behind: run XVRRP_WRITE_DOCS=1 cargo test -p vrrp-userspace documentation"
    );
}

#[test]
fn every_keyword_says_what_it_means() {
    let told = explain_keyword("advert_int").expect("known");
    assert!(
        told.starts_with("advert_int SECONDS\n  in vrrp_instance; served\n  default: 1\n"),
        "{told}"
    );
    assert!(
        explain_keyword("notify_master")
            .expect("known")
            .contains("vrrp_sync_group")
    );
    assert_eq!(explain_keyword("advert_inf"), None);
}
