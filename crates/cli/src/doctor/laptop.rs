//! What this machine has.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

use local::template::{Setting, Template};

use super::{Check, DoctorOptions, Outcome};
use crate::{
    local_cloud::{self, is_ours},
    model_folder::ModelFolder,
};

const LAPTOP: &str = "laptop";
const DEPLOYING: &str = "deploying";

pub(super) fn checks(options: &DoctorOptions) -> Vec<Check> {
    let mut checks = vec![
        program(LAPTOP, "Rust", "rustc", Outcome::Optional, "to build Mannen itself: https://rustup.rs"),
        program(
            LAPTOP,
            "C compiler",
            "cc",
            Outcome::Optional,
            "to build Mannen itself: apt-get install gcc, or Xcode's tools",
        ),
        template(options.template.as_deref()),
        folder(&options.dir),
        loopback(),
    ];
    checks.extend(model(options.model.as_deref()));
    let python = "python3 -m pip install";
    for (name, program_name, package) in [
        ("SAM", "sam", "aws-sam-cli"),
        ("cargo-lambda", "cargo-lambda", "cargo-lambda ziglang"),
        ("AWS CLI", "aws", "awscli"),
    ] {
        checks.push(program(
            DEPLOYING,
            name,
            program_name,
            Outcome::Optional,
            &format!("to deploy: {python} {package}"),
        ));
    }
    checks.push(arm64());
    checks
}

/// A program on the path, with the version that it tells.
fn program(group: &'static str, name: &str, program: &str, otherwise: Outcome, mend: &str) -> Check {
    let told = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    match told {
        Ok(told) if told.status.success() => {
            let text = String::from_utf8_lossy(&told.stdout);
            Check::ok(group, name, text.lines().next().unwrap_or_default().trim())
        }
        Ok(told) => Check::not(otherwise, group, name, format!("`{program} --version` fails ({})", told.status), mend),
        Err(_) => Check::not(otherwise, group, name, format!("`{program}` is not on the path"), mend),
    }
}

fn template(path: Option<&Path>) -> Check {
    let name = "template";
    let mend = "name another with --template";
    let text = match local_cloud::read_template(path) {
        Ok(text) => text,
        Err(error) => return Check::not(Outcome::Missing, LAPTOP, name, error.to_string(), mend),
    };
    match Template::parse(&text, &Setting::default()) {
        Ok(read) => {
            let (functions, routes) = (read.functions.len(), read.routes.len());
            Check::ok(LAPTOP, name, format!("{functions} functions, {routes} routes"))
        }
        Err(error) => Check::not(Outcome::Missing, LAPTOP, name, error.to_string(), "mend the template at that place"),
    }
}

/// The folder that `mannen up` and `mannen demo` empty at their start.
fn folder(folder: &Path) -> Check {
    let (name, shown) = ("folder", folder.display());
    let other = "choose another with --dir";
    if !folder.exists() {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return match tempfile_in(parent) {
            Ok(()) => Check::ok(LAPTOP, name, format!("`{shown}` can be made")),
            Err(error) => {
                Check::not(Outcome::Missing, LAPTOP, name, format!("`{shown}` cannot be made: {error}"), other)
            }
        };
    }
    if !is_ours(folder) && folder.read_dir().map_or(true, |mut entries| entries.next().is_some()) {
        let detail = format!("`{shown}` holds something else");
        return Check::not(Outcome::Missing, LAPTOP, name, detail, other);
    }
    match tempfile_in(folder) {
        Ok(()) => Check::ok(LAPTOP, name, format!("`{shown}` is ours")),
        Err(error) => {
            Check::not(Outcome::Missing, LAPTOP, name, format!("`{shown}` cannot be written: {error}"), other)
        }
    }
}

fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".mannen-doctor-{}", std::process::id()));
    std::fs::write(&probe, "")?;
    std::fs::remove_file(&probe)
}

fn loopback() -> Check {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
        Ok(_) => Check::ok(LAPTOP, "loopback", "127.0.0.1 has free ports"),
        Err(error) => {
            let mend = "the cloud on this machine listens there: let programs bind 127.0.0.1";
            Check::not(Outcome::Missing, LAPTOP, "loopback", error.to_string(), mend)
        }
    }
}

fn model(folder: Option<&Path>) -> Vec<Check> {
    let model = match ModelFolder::read(folder) {
        Ok(model) => model,
        Err(error) => {
            let mend = "`mannen features check` shows the place; `mannen init` makes a new folder";
            return vec![Check::not(Outcome::Missing, LAPTOP, "model", error.to_string(), mend)];
        }
    };
    let columns = model.plan.output_names().len();
    let mut checks = vec![Check::ok(LAPTOP, "model", format!("{}: {columns} model columns", model.name))];
    if let Some(input) = model.plan.hashed_input() {
        let key = std::env::var("PERSONAL_DATA_KEY").unwrap_or_default();
        let check = match local_cloud::check_personal_data_key(Some(input), &key) {
            Ok(()) => Check::ok(LAPTOP, "PERSONAL_DATA_KEY", format!("set; `{input}` is stored as a keyed hash")),
            Err(error) => {
                let mend = "export PERSONAL_DATA_KEY=$(openssl rand -hex 32), and keep it";
                Check::not(Outcome::Missing, LAPTOP, "PERSONAL_DATA_KEY", error.to_string(), mend)
            }
        };
        checks.push(check);
    }
    checks
}

/// The functions run on arm64.
fn arm64() -> Check {
    let (name, target) = ("arm64", "aarch64-unknown-linux-gnu");
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).stderr(Stdio::null()).output();
    let sysroot = sysroot.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned()).unwrap_or_default();
    if !sysroot.is_empty() && Path::new(&sysroot).join("lib/rustlib").join(target).is_dir() {
        return Check::ok(DEPLOYING, name, format!("Rust has {target}"));
    }
    let mend = format!("to deploy: rustup target add {target}");
    Check::not(Outcome::Optional, DEPLOYING, name, format!("Rust has no {target}"), mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_with_what_to_do() {
        let check = program("deploying", "SAM", "no-such-program-anywhere", Outcome::Optional, "install it");
        assert_eq!((check.outcome, check.mend.as_deref()), (Outcome::Optional, Some("install it")));
        let told = template(Some(Path::new("no-such-template.yaml")));
        assert!(told.outcome == Outcome::Missing && told.detail.contains("no-such-template.yaml"), "{told:?}");
        assert_eq!(template(None).outcome, Outcome::Ok);
        let told = &model(Some(Path::new("no-such-model")))[0];
        assert!(told.outcome == Outcome::Missing && told.mend.as_ref().unwrap().contains("mannen init"), "{told:?}");
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(folder(&directory.path().join("new")).outcome, Outcome::Ok);
        std::fs::write(directory.path().join("precious"), "").unwrap();
        assert_eq!(folder(directory.path()).outcome, Outcome::Missing);
        assert_eq!(directory.path().read_dir().unwrap().count(), 1, "nothing is left behind");
    }
}
