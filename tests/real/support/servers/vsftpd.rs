//! vsftpd.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{OWNER, Server, ServerFolder, ServerPorts, program};
use crate::support::pki::pki;
use crate::support::ports;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Tls,
    Implicit,
    /// TLS forced, and data connections must resume the control connection's session.
    Reuse,
    /// TLS forced, with a client certificate of the tests' CA.
    ClientCertificate,
}

const PAM_SERVICE: &str = "lockgate-test";

pub fn start(mode: Mode) -> Server {
    start_on(mode, ports::one())
}

/// On this port, such as that of a server that has ended.
pub fn start_on(mode: Mode, port: u16) -> Server {
    start_with(mode, port, &pki().certificate, &pki().key)
}

/// With TLS, this certificate and its key.
pub fn start_with_certificate(certificate: &Path, key: &Path) -> Server {
    start_with(Mode::Tls, ports::one(), certificate, key)
}

fn start_with(mode: Mode, port: u16, certificate: &Path, key: &Path) -> Server {
    let pam = Path::new("/etc/pam.d").join(PAM_SERVICE);
    assert!(pam.exists(), "{} is missing: run tests/install", pam.display());
    let server_folder = ServerFolder::new("vsftpd");
    let passive = ports::block(40);
    // vsftpd needs an empty folder that its user cannot write to.
    fs::create_dir(server_folder.path("empty")).expect("making an empty folder");
    let (home, empty, log) =
        (server_folder.home.display(), server_folder.path("empty"), server_folder.log.display());
    // The virtual user becomes OWNER (guest); its home is `local_root`.
    let mut text = format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\n\
         anonymous_enable=NO\nlocal_enable=YES\nguest_enable=YES\nguest_username={OWNER}\n\
         virtual_use_local_privs=YES\nlocal_root={home}\nnopriv_user=nobody\n\
         pam_service_name={PAM_SERVICE}\nsecure_chroot_dir={}\nseccomp_sandbox=NO\n\
         chroot_local_user=YES\nallow_writeable_chroot=YES\nwrite_enable=YES\nlocal_umask=022\n\
         pasv_min_port={}\npasv_max_port={}\nport_enable=YES\nconnect_from_port_20=NO\n\
         use_localtime=NO\nutf8_filesystem=YES\nftpd_banner=vsftpd {mode:?}\n\
         xferlog_enable=YES\nlog_ftp_protocol=YES\nvsftpd_log_file={log}\n",
        empty.display(),
        passive.start(),
        passive.end(),
    );
    if mode != Mode::Plain {
        text.push_str(&tls(mode, certificate, key));
    }
    let file = server_folder.write("vsftpd.conf", &text);
    let ports = match mode {
        Mode::Implicit => ServerPorts { implicit: Some(port), ..ServerPorts::default() },
        _ => ServerPorts { clear: Some(port), ..ServerPorts::default() },
    };
    server_folder.start(Command::new(program("vsftpd")).arg(file), ports)
}

fn client_certificate(mode: Mode) -> String {
    if mode != Mode::ClientCertificate {
        return String::new();
    }
    let ca = pki().ca.display();
    format!(
        "ssl_request_cert=YES\nrequire_cert=YES\nvalidate_cert=YES\nca_certs_file={ca}\n\
         force_local_data_ssl=YES\nforce_local_logins_ssl=YES\n"
    )
}

fn tls(mode: Mode, certificate: &Path, key: &Path) -> String {
    let yes = |on: bool| if on { "YES" } else { "NO" };
    let reuse = yes(mode == Mode::Reuse);
    format!(
        "ssl_enable=YES\nrsa_cert_file={}\nrsa_private_key_file={}\nssl_ciphers=HIGH\n\
         ssl_tlsv1=YES\nssl_sslv2=NO\nssl_sslv3=NO\nrequire_ssl_reuse={reuse}\n\
         force_local_data_ssl={reuse}\nforce_local_logins_ssl={reuse}\nimplicit_ssl={}\n",
        certificate.display(),
        key.display(),
        yes(mode == Mode::Implicit),
    ) + &client_certificate(mode)
}
