//! What the daemon says of itself.

use super::Finding;
use crate::control::model::Status;

pub(super) fn examine(status: &Status) -> Vec<Finding> {
    let mut findings = vec![Finding::fine(
        "daemon",
        format!("xvrrp {} runs", status.version),
    )];
    let reloads = &status.reloads;
    if reloads.last_was_refused
        && let Some(message) = &reloads.last
    {
        findings.push(Finding::wrong(
            "configuration",
            format!("the last reload changed nothing: {message}"),
            "xvrrp check says what is wrong; then xvrrp reload",
        ));
    }
    for interface in &status.interfaces {
        if let Some(problem) = &interface.companion_problem {
            findings.push(Finding::wrong(
                &interface.name,
                problem.clone(),
                "the log says more; xvrrp attaches again when the interface comes back, or when it is restarted",
            ));
        }
    }
    for told in &status.told {
        if let Some(problem) = &told.problem {
            findings.push(Finding::note(
                &told.name,
                format!("{problem}; {} waiting, {} lost", told.waiting, told.lost),
                "whoever is to be told of changes does not hear of them",
            ));
        }
    }
    findings
}
