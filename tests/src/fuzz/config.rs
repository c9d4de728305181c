//! Made-up configurations: read whole, or refused with a place in the text; never anything else.

use std::path::Path;

use vrrp_userspace::config::{self, Limits, Reader, diagnostics::Severity, explain::explain};

/// Reads a configuration.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let source = text.clone();
    // A pattern could make us walk the whole file system.
    if text.contains("include") {
        return;
    }
    let reader = Reader {
        config_id: "made-up".to_owned(),
        limits: Limits {
            lines: 20_000,
            bytes: 4 << 20,
        },
        needs_every_file: false,
    };
    let loaded = reader.load_text(Path::new("made-up.conf"), text);
    // Both must be able to take anything.
    let _ = (explain(&loaded.config), loaded.verdict(true));
    let once = config::format(&source);
    // A layout is one of a file that somebody could have written.
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if loaded.diagnostics.count(Severity::Error) == 0 && !source.contains(is_odd) {
        let again = config::format(&once);
        assert_eq!(again, once, "a layout that does not last: {source:?}");
        let read = reader.load_text(Path::new("made-up.conf"), once);
        let (before, after) = (explain(&loaded.config), explain(&read.config));
        assert_eq!(before, after, "a layout with a meaning: {source:?}");
    }
    // Every diagnostic must be able to show its place.
    let shown = loaded.diagnostics.render(&loaded.sources, false);
    let lines = loaded.diagnostics.lines(&loaded.sources).len();
    assert!(lines == 0 || !shown.is_empty());
    for instance in &loaded.config.instances {
        assert!(instance.vrid > 0 && instance.priority > 0 && instance.interval_cs > 0);
        assert!(!instance.interface.is_empty());
        let addresses = &instance.addresses;
        assert!(
            !addresses.is_empty() && addresses.len() <= 255,
            "{}",
            instance.name
        );
    }
}
