//! Broken files, a mistake in each: what is said of it, word for word, and that it names the right place,
//! which the last line of each file tells. After a change: `INSTA_UPDATE=always cargo test -p
//! vrrp-userspace broken`, and read what has changed.

use crate::config::{Reader, diagnostics::Severity};

#[test]
fn every_mistake_is_told_where_it_stands() {
    let (mut count, mut misplaced) = (0, Vec::new());
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::glob!("broken/*.conf", |path| {
            count += 1;
            let text = std::fs::read_to_string(path).expect("readable");
            let name = path.file_name().expect("a name").to_string_lossy();
            let place = text.lines().last().and_then(|line| line.strip_prefix("! at "));
            let place = format!("{name}:{}: ", place.expect("a place"));
            let loaded = Reader::new(Some("node1")).load_text(std::path::Path::new(&*name), text.clone());
            let told = loaded.diagnostics.lines(&loaded.sources);
            let worst = told.iter().map(|(severity, _)| *severity).max();
            let mut worst = told.iter().filter(|(severity, _)| Some(*severity) == worst);
            if !worst.any(|(severity, line)| *severity >= Severity::Warning && line.starts_with(&place)) {
                misplaced.push((place, told));
            }
            insta::assert_snapshot!("broken", loaded.diagnostics.render(&loaded.sources, false));
        });
    });
    assert!(misplaced.is_empty(), "{misplaced:#?}");
    assert!(count >= 20, "{count}");
}
