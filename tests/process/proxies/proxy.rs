//! A proxy as a process.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use tokio::net::TcpStream;

use crate::harness::within;

/// A port that is free, until another process takes it.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// nginx or HAProxy, killed when the test ends.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) port: u16,
}

impl Proxy {
    /// Starts nginx with its installed configuration, whose sites are these. Its files are in the folder.
    pub(crate) async fn nginx(folder: &Path, port: u16, sites: &str) -> Self {
        fs::create_dir_all(folder.join("sites")).unwrap();
        fs::write(folder.join("sites/tara-export.conf"), sites).unwrap();
        let installed = fs::read_to_string("/etc/nginx/nginx.conf").expect("nginx is installed");
        let own = |path: &str| folder.join(path).display().to_string();
        let mut configuration = installed.clone();
        for (from, to) in [
            ("/run/nginx.pid", own("nginx.pid")),
            ("/var/log/nginx", own("")),
            ("/etc/nginx/sites-enabled", own("sites")),
            ("/etc/nginx/conf.d", own("none")),
        ] {
            assert!(configuration.contains(from), "{from} is not in nginx.conf");
            configuration = configuration.replace(from, &to);
        }
        let path = folder.join("nginx.conf");
        fs::write(&path, configuration).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-g", "daemon off;", "-c"]).arg(&path);
        Self::spawn(command, folder, port).await
    }

    /// Starts HAProxy with this configuration, whose last line must be complete.
    pub(crate) async fn haproxy(folder: &Path, port: u16, configuration: &str) -> Self {
        let path = folder.join("haproxy.cfg");
        fs::write(&path, format!("{configuration}\n")).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&path);
        Self::spawn(command, folder, port).await
    }

    async fn spawn(mut command: Command, folder: &Path, port: u16) -> Self {
        let log: PathBuf = folder.join("proxy.log");
        let output = File::create(&log).unwrap();
        let child = command
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .expect("the proxy is installed: .ci/run proxies installs it");
        let mut proxy = Self { child, port };
        let connected = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                if let Some(ended) = proxy.child.try_wait().unwrap() {
                    panic!("the proxy ended: {ended}\n{}", fs::read_to_string(&log).unwrap());
                }
                tokio::task::yield_now().await;
            }
        };
        within("the proxy listens", connected).await;
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx's and HAProxy's workers end with their master only after a signal that it can handle.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
