//! A PostgreSQL server of a test's own, which it may stop and start.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use tempfile::TempDir;

/// Stopped with it.
pub(crate) struct Server {
    programs: PathBuf,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Server {
    /// `None`, and a line that says so, where there are no programs of one.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let test = thread::current().name().unwrap_or("a test").to_owned();
            println!("SKIPPED {test}: no PostgreSQL server is installed here");
            return None;
        };
        let server = Self::with(programs);
        let data = server.data();
        // Loopback only, and worth nothing: whoever is on this machine may look.
        server.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"]);
        server.again();
        Some(server)
    }

    /// A standby that follows this one, as a server of its own.
    pub(crate) fn standby(&self) -> Self {
        let (standby, port) = (Self::with(self.programs.clone()), self.port.to_string());
        let data = standby.data();
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        let to = ["-D", &data, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        standby.run("pg_basebackup", &[&from[..], &to].concat());
        standby.again();
        standby
    }

    /// Makes a standby a primary; back when it is one.
    pub(crate) fn promote(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "promote"]);
    }

    fn with(programs: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server refuses to run as root.
        let chown = Command::new("chown").arg("postgres").arg(folder.path()).output();
        assert!(!is_root() || chown.unwrap().status.success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { programs, folder, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres:nothing@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops it at once, as if it had crashed.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    /// Starts it; back when it takes connections.
    pub(crate) fn again(&self) {
        let folder = self.folder.path().display();
        let options = format!(
            "-p {} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off \
             -c wal_level=logical",
            self.port
        );
        let log = format!("{folder}/log");
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "-o", &options, "start"]);
    }

    /// From its next start on it takes encrypted connections as `127.0.0.1`, and notes all connections.
    /// The path of a certificate that vouches for it, and of one that does not.
    pub(crate) fn encrypt(&self) -> [String; 2] {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let make = |arguments: &[&str]| {
            let made = Command::new("openssl").args(arguments).output().expect("openssl is there");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        let new = ["req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        let [ours, other] = ["ours", "other"].map(|name| {
            let (subject, key) = (format!("/CN={name}"), at(&format!("{name}.key")));
            let certificate = at(name);
            let to = ["-x509", "-days", "2", "-subj", &subject, "-keyout", &key];
            make(&[&new[..], &to, &["-out", &certificate]].concat());
            certificate
        });
        let (key, request, certificate) = (at("key"), at("request"), at("certificate"));
        let to = ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1"];
        make(&[&new[..], &to, &["-keyout", &key, "-out", &request]].concat());
        let (by, days) = (at("ours.key"), ["-days", "2", "-copy_extensions", "copy"]);
        let sign = ["x509", "-req", "-in", &request, "-CA", &ours, "-CAkey", &by];
        make(&[&sign[..], &days, &["-out", &certificate]].concat());
        let chown = Command::new("chown").args(["postgres", &key, &certificate]).output();
        assert!(!is_root() || chown.unwrap().status.success());
        let settings = format!(
            "ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\nlog_connections = on\n"
        );
        let to = Path::new(&self.data()).join("postgresql.auto.conf");
        fs::write(to, settings).unwrap();
        [ours, other]
    }

    /// What it said since it was first started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // A server that it leaves behind would hold its pipes open.
        let output = fs::File::create(self.folder.path().join("said")).unwrap();
        let errors = output.try_clone().unwrap();
        let ran = command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .status()
            .unwrap();
        let said = || fs::read_to_string(self.folder.path().join("said")).unwrap();
        assert!(ran.success(), "{arguments:?}: {}", said());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if Path::new(&self.data()).join("postmaster.pid").exists() {
            self.stop();
        }
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.starts_with(b"0\n")
}

/// Where Debian puts the newest server's programs, or wherever they are on the path.
fn programs() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    let mut debian: Vec<PathBuf> = debian.filter(|bin| bin.join("initdb").exists()).collect();
    debian.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name);
        version.and_then(|version| version.to_str()).and_then(|version| version.parse::<u32>().ok())
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    debian.pop().or(on_path)
}
