//! What a TLS client certificate counts for at a login (RFC 4217 section 4): it binds the connection to the
//! users whom it names, and may replace the password.

use std::sync::Arc;

use super::{Gateway, refused};
use crate::auth::{User, UserCertificate, UserTable};
use crate::net::tls::{CertificateUsers, ClientCertificate};
use crate::op::Failure;
use crate::route::{Access, Account, Authenticator, Choice};
use crate::session::ClientInfo;

/// What a client has to send after its user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordNeed {
    /// The password.
    Password,
    /// Anything, by convention a mail address (RFC 1635).
    MailAddress,
    /// Nothing: its certificate is enough.
    Nothing,
}

impl Gateway {
    /// What a client has to send after this user name. It depends on the users only as far as its certificate
    /// names one, so that it does not tell who exists.
    pub fn password_need(&self, client: &ClientInfo, name: &[u8]) -> PasswordNeed {
        let users = self.passwords.users();
        let chosen = self.choose_among(&users, client.login(name));
        let Some(choice) = &chosen.choice else { return PasswordNeed::Password };
        match &choice.backend.access {
            Access::Gateway { by: Authenticator::Anonymous, .. } => PasswordNeed::MailAddress,
            Access::Gateway { by: Authenticator::Users, account }
                if !matches!(account, Account::PassThrough)
                    && user_by_certificate(&users, client.certificate.get(), choice)
                        .is_some_and(|user| (choice.route.required | user.required).is_empty()) =>
            {
                PasswordNeed::Nothing
            }
            _ => PasswordNeed::Password,
        }
    }
}

/// The user of a login, if the connection's certificate is enough.
pub(super) fn user_by_certificate(
    users: &UserTable,
    certificate: Option<&ClientCertificate>,
    choice: &Choice<'_>,
) -> Option<Arc<User>> {
    let user = users.get(&choice.user)?;
    is_enough(user, certificate, &choice.user).then(|| user.clone())
}

/// Whether the user, of this name, needs nothing but the connection's certificate.
pub(super) fn is_enough(user: &User, certificate: Option<&ClientCertificate>, name: &[u8]) -> bool {
    user.certificate == Some(UserCertificate::Sufficient)
        && certificate.is_some_and(|certificate| certificate.users.names(name))
}

/// Refuses a user whom the connection's certificate, if it has one, does not name.
pub(super) fn check_name(
    certificate: Option<&ClientCertificate>,
    user: &[u8],
) -> Result<(), Failure> {
    let Some(certificate) = certificate else { return Ok(()) };
    if certificate.users.admits(user) {
        return Ok(());
    }
    let setting = "(tls.certificate_user of the listener)";
    Err(refused(&match &certificate.users {
        CertificateUsers::Nobody(why) => {
            format!("the client's certificate names no user: {why} {setting}")
        }
        CertificateUsers::Named(names) if names.len() == 1 => {
            format!("the client's certificate is of the user \"{}\" {setting}", names[0])
        }
        CertificateUsers::Named(_) | CertificateUsers::Any => {
            format!("the client's certificate is of other users {setting}")
        }
    }))
}

/// Refuses a password without a certificate, of a user who needs both.
pub(super) fn check_required(
    certificate: Option<&ClientCertificate>,
    name: &[u8],
    user: &User,
) -> Result<(), Failure> {
    let is_named = certificate.is_some_and(|it| it.users.names(name));
    if user.certificate == Some(UserCertificate::Required) && !is_named {
        return Err(refused(
            "the user has `certificate: required`, and the connection has no TLS client certificate that \
             names the user",
        ));
    }
    Ok(())
}
