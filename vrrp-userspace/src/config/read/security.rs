//! `enable_script_security`: scripts that run as root must not be such as others can change.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        model::{Config, Global, Judge, Notify, NotifyScript, ScriptUser},
        source::Span,
    },
    health::{Identity, Probe},
};

/// Leaves out checks that must not be run.
pub(super) fn judge_checks(config: &mut Config, diagnostics: &mut Diagnostics) {
    let Config {
        global,
        scripts,
        arbiters,
        ..
    } = config;
    arbiters.retain(|_, arbiter| {
        let Judge::Quorum { quorum, .. } = &arbiter.judge else {
            return true;
        };
        quorum.targets.iter().all(|target| match target {
            Probe::Script(command) => may_run(command, None, global, &arbiter.span, diagnostics),
            _ => true,
        })
    });
    scripts.retain(|_, script| {
        let user = script.user.as_ref();
        match &script.probe {
            Probe::Script(command) => may_run(command, user, global, &script.span, diagnostics),
            _ => true,
        }
    });
}

/// Leaves out notify scripts that must not be run.
pub(super) fn judge_notifications(config: &mut Config, diagnostics: &mut Diagnostics) {
    let Config {
        global,
        instances,
        groups,
        ..
    } = config;
    let of_instances = instances.iter_mut().map(|instance| &mut instance.notify);
    let of_groups = groups.iter_mut().map(|group| &mut group.notify);
    for notify in of_instances.chain(of_groups) {
        judge(notify, global, diagnostics);
    }
    let mut fifos = std::mem::take(&mut global.fifos);
    for fifo in &mut fifos {
        judge_one(&mut fifo.script, global, diagnostics);
    }
    global.fifos = fifos;
}

fn judge(notify: &mut Notify, global: &Global, diagnostics: &mut Diagnostics) {
    for place in notify.scripts_mut() {
        judge_one(place, global, diagnostics);
    }
}

fn judge_one(place: &mut Option<NotifyScript>, global: &Global, diagnostics: &mut Diagnostics) {
    place.take_if(|script| {
        let (command, user) = (&script.command, script.user.as_ref());
        !may_run(command, user, global, &script.span, diagnostics)
    });
}

fn may_run(
    command: &str,
    user: Option<&ScriptUser>,
    global: &Global,
    span: &Span,
    diagnostics: &mut Diagnostics,
) -> bool {
    let identity = Identity::resolve(user, global.script_user.as_ref());
    // Whom nobody knows is complained of elsewhere.
    if !identity.is_ok_and(|identity| identity.is_none_or(Identity::is_root)) {
        return true;
    }
    if !global.script_security {
        diagnostics.note_insecure(span.clone());
        return true;
    }
    let Some(why) = insecure(command) else {
        return true;
    };
    diagnostics.push(
        Diagnostic::error(span.clone(), format!("this must not run as root: {why}")).help(
            "make the file and every directory above it root's, writable for nobody else, or run it \
             as another user; it is not run",
        ),
    );
    false
}

/// Why somebody else can change what is run.
fn insecure(command: &str) -> Option<String> {
    let words = shell_words::split(command).ok()?;
    let program = found(words.first()?)?;
    let whole = program.canonicalize().ok()?;
    whole.ancestors().find_map(|path| {
        let metadata = fs::metadata(path).ok()?;
        let is_shared = metadata.mode() & 0o022 != 0;
        // Who can write into a sticky directory cannot replace what is another's.
        let is_sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if metadata.uid() != 0 {
            return Some(format!(
                "{} belongs to user {}",
                path.display(),
                metadata.uid()
            ));
        }
        (is_shared && !is_sticky).then(|| format!("others can write to {}", path.display()))
    })
}

/// Where a program is; `None` where it is on no part of the PATH.
pub(super) fn found(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name));
    }
    let path = env::var_os("PATH")?;
    let mut places = env::split_paths(&path).map(|place| place.join(name));
    places.find(|path| Path::is_file(path))
}
