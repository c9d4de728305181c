//! `xvrrp check`, `xvrrp explain`, `xvrrp fmt`: what can be done with a configuration without serving it.

use std::{
    fmt::Write as _,
    fs,
    io::{IsTerminal as _, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, fchown},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use tempfile::NamedTempFile;
use vrrp_userspace::config::{
    self, Loaded, Reader, Verdict,
    diagnostics::Severity,
    explain::{Node, differences, explain},
};

use super::{configuration, load};

#[derive(Args)]
pub(super) struct CheckArguments {
    /// Configuration files in keepalived.conf syntax, `-` for standard input; those of several machines are
    /// compared as well
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What lines with `@ID` are for [default: the host's name without its domain]. Given several
    /// times, one file is read for each
    #[arg(long, short = 'i', value_name = "ID")]
    config_id: Vec<String>,
    /// Warnings fail the check too
    #[arg(long)]
    strict: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ExplainArguments {
    /// Configuration files, `-` for standard input; those of several machines are compared as well
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What lines with `@ID` are for [default: the host's name without its domain]. Given several
    /// times, one file is read for each
    #[arg(long, short = 'i', value_name = "ID")]
    config_id: Vec<String>,
    /// Explain a keyword instead
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    keyword: Option<String>,
}

#[derive(Args)]
pub(super) struct FormatArguments {
    /// Files to put in order; standard input where none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the files instead of showing them
    #[arg(long, short, requires = "files", conflicts_with = "check")]
    write: bool,
    /// Change nothing; exit with 1 where a file is not in order
    #[arg(long, requires = "files")]
    check: bool,
}

/// A configuration with a name for the machine that it is for.
struct Machine {
    name: String,
    path: PathBuf,
    loaded: Loaded,
}

/// `-` is what comes in.
fn read(reader: &Reader, path: &Path) -> Result<Loaded> {
    if path != Path::new("-") {
        return load(reader, path);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("read standard input")?;
    Ok(reader.load_text(path, text))
}

/// Every configuration that is asked for, and why others cannot be read.
fn machines(files: &[PathBuf], config_ids: &[String]) -> Result<(Vec<Machine>, Vec<String>)> {
    let files = if files.is_empty() {
        vec![configuration(None)?]
    } else {
        files.to_vec()
    };
    let ids: Vec<Option<&str>> = if config_ids.is_empty() {
        vec![None]
    } else {
        config_ids.iter().map(|id| Some(id.as_str())).collect()
    };
    let (mut machines, mut unread) = (Vec::new(), Vec::new());
    for path in files {
        for id in &ids {
            let shown = path.display();
            let name = id.map_or_else(|| shown.to_string(), |id| format!("{shown}@{id}"));
            match read(&Reader::new(*id), &path) {
                Ok(loaded) => machines.push(Machine {
                    name,
                    path: path.clone(),
                    loaded,
                }),
                Err(error) => unread.push(format!("{error:#}")),
            }
        }
    }
    Ok((machines, unread))
}

fn compare(machines: &[Machine]) -> Vec<String> {
    if machines.len() < 2 {
        return Vec::new();
    }
    let nodes: Vec<Node<'_>> = machines
        .iter()
        .map(|machine| Node {
            name: &machine.name,
            config: &machine.loaded.config,
        })
        .collect();
    differences(&nodes)
}

/// What `check` exits with where a file cannot be read.
const UNREAD: u8 = 1;

pub(super) fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let (machines, unread) = machines(&arguments.files, &arguments.config_id)?;
    let between = compare(&machines);
    let verdicts = machines
        .iter()
        .map(|machine| machine.loaded.verdict(arguments.strict));
    // The worst has the smallest code above 0.
    let worst = verdicts.clone().filter(|verdict| *verdict != Verdict::Fine);
    let mut code = worst.map(Verdict::code).min().unwrap_or_default();
    if code == 0 && arguments.strict && between.iter().any(|line| line.starts_with("problem:")) {
        code = Verdict::HasErrors.code();
    }
    if !unread.is_empty() {
        code = UNREAD;
    }
    let out = if arguments.json {
        in_json(&machines, &unread, &between, code)?
    } else {
        for line in &unread {
            eprintln!("xvrrp: {line}");
        }
        in_words(&machines, &between)
    };
    show(&out);
    Ok(ExitCode::from(code))
}

/// A reader that stops reading, such as `head`, is no failure of ours.
fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn in_json(
    machines: &[Machine],
    unread: &[String],
    between: &[String],
    code: u8,
) -> Result<String> {
    let mut list = Vec::new();
    for machine in machines {
        let Loaded {
            config,
            diagnostics,
            sources,
        } = &machine.loaded;
        let instances: Vec<&str> = config.instances.iter().map(|it| &*it.name).collect();
        list.push(json!({
            "name": machine.name,
            "file": machine.path,
            "instances": instances,
            "problems": serde_json::to_value(diagnostics.told(sources))?,
        }));
    }
    let whole = json!({
        "exit_code": code,
        "configurations": list,
        "unread": unread,
        "between": between,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?))
}

fn in_words(machines: &[Machine], between: &[String]) -> String {
    let mut out = String::new();
    for machine in machines {
        let Loaded {
            config,
            diagnostics,
            sources,
        } = &machine.loaded;
        out.push_str(&diagnostics.render(sources, std::io::stdout().is_terminal()));
        // Writing into a string does not fail.
        let _ = writeln!(
            out,
            "{}: {} instances can be served, {} errors, {} warnings, {} lints",
            machine.name,
            config.instances.len(),
            diagnostics.count(Severity::Error),
            diagnostics.count(Severity::Warning),
            diagnostics.count(Severity::Lint)
        );
    }
    for line in between {
        out.push_str(line);
        out.push('\n');
    }
    out
}

pub(super) fn explain_files(arguments: &ExplainArguments) -> Result<ExitCode> {
    if let Some(keyword) = &arguments.keyword {
        let Some(text) = config::explain_keyword(keyword) else {
            bail!("nobody knows a keyword {keyword}");
        };
        show(&text);
        return Ok(ExitCode::SUCCESS);
    }
    let (machines, unread) = machines(&arguments.files, &arguments.config_id)?;
    if let Some(unread) = unread.first() {
        bail!("{unread}");
    }
    let mut out = String::new();
    for machine in &machines {
        if machines.len() > 1 {
            let _ = writeln!(out, "=== {}", machine.name);
        }
        out.push_str(&explain(&machine.loaded.config));
        let errors = machine.loaded.diagnostics.count(Severity::Error);
        if errors > 0 {
            let name = &machine.name;
            let _ = writeln!(
                out,
                "\n{errors} errors are not in this: see `xvrrp check {name}`"
            );
        }
    }
    for (number, line) in compare(&machines).iter().enumerate() {
        if number == 0 {
            out.push_str("\n=== who wins\n");
        }
        out.push_str(line);
        out.push('\n');
    }
    show(&out);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn format(arguments: &FormatArguments) -> Result<ExitCode> {
    if arguments.files.is_empty() {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read standard input")?;
        show(&config::format(&text));
        return Ok(ExitCode::SUCCESS);
    }
    let mut in_order = true;
    for path in &arguments.files {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let formatted = config::format(&text);
        if arguments.check {
            if formatted != text {
                in_order = false;
                println!("{} is not in order", path.display());
            }
        } else if !arguments.write {
            show(&formatted);
        } else if formatted != text {
            replace(path, &formatted).with_context(|| format!("write {}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(if in_order {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A file is there all the while, whole, with the permissions and the owner it has.
fn replace(path: &Path, text: &str) -> Result<()> {
    let target = path.canonicalize()?;
    let metadata = fs::metadata(&target)?;
    let mut new = NamedTempFile::new_in(target.parent().unwrap_or(Path::new("/")))?;
    new.write_all(text.as_bytes())?;
    fchown(new.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
    new.as_file().set_permissions(metadata.permissions())?;
    new.as_file().sync_all()?;
    new.persist(&target)?;
    Ok(())
}
