//! What OpenSSH's clients do besides moving files: `df`, `ln`, `cp`, several channels on one
//! connection, sshfs.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::support::backend_fixture::BackendFixture;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::{openssh, sftp};
use crate::support::pattern;
use crate::support::process::{CleanupGuard, pid, run, spawn, wait};
use crate::support::sftp_fixture::{SftpPlan, scenario};
use crate::support::wait::becomes_true;

const TIMEOUT: Duration = Duration::from_secs(20);

/// All commands of OpenSSH's sftp, in an existing folder.
fn commands(site: &SftpSite, folder: &str, disk: &Path) {
    let home = tempfile::tempdir().expect("a client's home");
    std::fs::write(home.path().join("a"), pattern(100_000)).expect("writing a file");
    let run_batch = |batch: &str| {
        let batch = format!("cd /{folder}\n{batch}\n");
        let output = sftp(site, home.path(), &batch, &[]).expect_ok(&batch);
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    run_batch("put -f a");
    let df = run_batch("df");
    assert!(df.contains("Avail") && df.lines().count() >= 3, "{df}");
    run_batch("df -i");
    run_batch("ln a hard");
    let file = |name: &str| std::fs::symlink_metadata(disk.join(name)).expect("a file");
    assert_eq!(file("hard").ino(), file("a").ino());
    run_batch("ln -s a soft");
    assert_eq!(std::fs::read_link(disk.join("soft")).expect("a link"), Path::new("a"));
    run_batch("cp a copy");
    assert_eq!(std::fs::read(disk.join("copy")).expect("the copy"), pattern(100_000));
    run_batch("chmod 600 copy");
    assert_eq!(file("copy").permissions().mode() & 0o777, 0o600);
    let listed = run_batch("ls -la");
    let line = |end: &str| listed.lines().find(|line| line.ends_with(end)).map(str::to_owned);
    assert!(line(" copy").is_some_and(|line| line.starts_with("-rw-------")), "{listed}");
    assert!(line(" copy").is_some_and(|line| line.contains(" 100000 ")), "{listed}");
    assert!(listed.lines().any(|line| line.starts_with('l')), "{listed}");
    let listed = run_batch("ls -1");
    for name in ["a", "copy", "hard", "soft"] {
        assert!(listed.lines().any(|line| line.trim() == name), "{name} is not in {listed}");
    }
    run_batch("get soft through");
    let through = std::fs::read(home.path().join("through")).expect("the file");
    assert_eq!(through, pattern(100_000));
    run_batch(
        "rename copy moved\nrm moved\nrm soft\nrm hard\nrm a\nmkdir b\nmkdir b/c\nrmdir b/c\nrmdir b",
    );
    assert_eq!(std::fs::read_dir(disk).expect("the folder").count(), 0);
}

#[test]
fn openssh_commands_work_with_a_folder() {
    let backend_fixture = BackendFixture::start("local");
    let (folder, disk) = backend_fixture.work_folder("commands");
    sftp(&backend_fixture.sftp_site(), Path::new("/"), &format!("mkdir /{folder}\n"), &[])
        .expect_ok("mkdir");
    commands(&backend_fixture.sftp_site(), &folder, &disk);
}

#[test]
fn openssh_commands_work_with_sshd() {
    let backend_fixture = BackendFixture::start("sshd");
    let (folder, disk) = backend_fixture.work_folder("commands");
    sftp(&backend_fixture.sftp_site(), Path::new("/"), &format!("mkdir /{folder}\n"), &[])
        .expect_ok("mkdir");
    commands(&backend_fixture.sftp_site(), &folder, &disk);
}

#[test]
fn rarely_used_extensions_work() {
    // Clients must not see user names of the gateway's machine.
    // For a copy that starts after the end of the file, OpenSSH's server returns EOF (1), but 9.2 OK.
    for (backend, names, past) in [("local", false, &[1][..]), ("sshd", true, &[0, 1])] {
        let backend_fixture = BackendFixture::start(backend);
        let (folder, _) = backend_fixture.work_folder("extensions");
        let folder = format!("/{folder}");
        let job = json!({ "folder": folder, "account-names": names, "past-the-end": past });
        let failures = scenario(&backend_fixture.sftp_site(), "extensions", job);
        assert!(failures.is_empty(), "{backend}: {failures:#?}");
    }
}

/// ControlMaster: several sftp runs share one connection.
#[test]
fn several_channels_share_a_connection() {
    let fixture = SftpPlan::default().start();
    let home = tempfile::tempdir().expect("a client's home");
    let bytes = pattern(8 << 20);
    fixture.put("file", &bytes);
    let socket = home.path().join("master");
    let path = format!("ControlPath={}", socket.display());
    let mut master = openssh("ssh", &fixture.site(), home.path());
    master.args(["-M", "-N", "-o", &path]).arg(format!("{}@127.0.0.1", fixture.site().user));
    let mut master = spawn(&mut master);
    let _cleanup = CleanupGuard::new(None, None);
    assert!(becomes_true(|| socket.exists()), "no master");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (home, path, site, bytes, fixture) =
                (home.path(), &path, fixture.site(), &bytes, &fixture);
            scope.spawn(move || {
                let batch = format!("get file {number}\nput {number} up-{number}\n");
                let more = ["-o", path.as_str(), "-o", "ControlMaster=no"];
                sftp(&site, home, &batch, &more).expect_ok("a shared connection");
                assert!(fixture.get(&format!("up-{number}")) == *bytes, "{number} differs");
            });
        }
    });
    let series = "lockgate_logins_total{listener=\"front\",outcome=\"ok\"}";
    assert_eq!(fixture.gateway.metric(series), Some(1), "one connection, one login");
    // No channel is open, but the connection is.
    let batch = "get file last\n";
    sftp(&fixture.site(), home.path(), batch, &["-o", &path, "-o", "ControlMaster=no"])
        .expect_ok("one more");
    kill_process(pid(&master), Signal::TERM).expect("ending the master");
    wait(&mut master, TIMEOUT).expect("the master ends");
    fixture.await_no_session();
}

/// Where /dev/fuse works: a file system over the gateway, with random reads and writes.
#[test]
fn sshfs() {
    let fixture = SftpPlan::default().start();
    let home = tempfile::tempdir().expect("a client's home");
    let mount = home.path().join("mount");
    std::fs::create_dir(&mount).expect("a mount point");
    if let Err(error) = File::options().read(true).write(true).open("/dev/fuse") {
        print(format_args!("SKIPPED sshfs: /dev/fuse cannot be used here: {error}"));
        return;
    }
    let site = fixture.site();
    let mut command = crate::support::clients::client("sshfs", home.path());
    command.arg(format!("{}@127.0.0.1:/", site.user)).arg(&mount);
    command.args(["-f", "-p", &site.port.to_string(), "-F", "/dev/null"]);
    for option in [
        "password_stdin",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "PubkeyAuthentication=no",
    ] {
        command.args(["-o", option]);
    }
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = spawn(&mut command);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    writeln!(stdin, "{}", site.password).expect("giving the password");
    let device = std::fs::metadata(home.path()).expect("a folder").dev();
    let mounted = || std::fs::metadata(&mount).is_ok_and(|it| it.dev() != device);
    let ended = becomes_true(|| mounted() || child.try_wait().is_ok_and(|status| status.is_some()));
    if !mounted() {
        let _ = child.kill();
        let output = child.wait_with_output().expect("what sshfs errors");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let refused = errors.contains("Operation not permitted") || errors.contains("fuse:");
        assert!(ended && refused, "sshfs does not mount: {errors}");
        print(format_args!("SKIPPED sshfs: this machine refuses to mount: {errors}"));
        return;
    }
    let bytes = pattern(3 << 20);
    std::fs::write(mount.join("file"), &bytes).expect("writing through the mount");
    assert!(std::fs::read(mount.join("file")).expect("reading through the mount") == bytes);
    use std::os::unix::fs::FileExt;
    let file = File::options().read(true).write(true).open(mount.join("file")).expect("opening");
    file.write_all_at(b"in the middle", 1_000_000).expect("writing in the middle");
    file.sync_all().expect("fsync");
    drop(file);
    assert_eq!(&fixture.get("file")[1_000_000..1_000_013], b"in the middle");
    std::fs::create_dir_all(mount.join("deep/er")).expect("making folders");
    std::fs::rename(mount.join("file"), mount.join("deep/er/moved")).expect("renaming");
    std::os::unix::fs::symlink("deep", mount.join("link")).expect("a symlink");
    let names = |path: &Path| std::fs::read_dir(path).expect("listing").count();
    assert_eq!((names(&mount), names(&mount.join("link/er"))), (2, 1));
    std::fs::remove_dir_all(mount.join("deep")).expect("removing");
    let mut unmount = Command::new("fusermount3");
    run(unmount.arg("-u").arg(&mount), b"", TIMEOUT).expect_ok("unmounting");
    wait(&mut child, TIMEOUT).expect("sshfs ends");
    fixture.await_no_session();
}

/// Prints past the test harness, which captures the output of passing tests.
fn print(message: std::fmt::Arguments) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{message}");
}
