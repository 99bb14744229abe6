//! The certificates and keys of one API server. It has an authority of its own, so that clients verify the server as
//! they do in production.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Paths of the files written by [`Certs::write`].
#[derive(Debug)]
pub(super) struct Certs {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate.
    pub cert: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// The private key that signs service account tokens.
    pub tokens: PathBuf,
    /// The public half of `tokens`.
    pub tokens_public: PathBuf,
}

impl Certs {
    /// Creates them for a server on 127.0.0.1.
    pub fn write(dir: &Path) -> Result<Self> {
        let ca_key = KeyPair::generate().context("cannot make a key")?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "rig-ca");
        let ca_cert = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let cert = server.signed_by(&key, &issuer)?;

        let tokens = KeyPair::generate()?;
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(Self {
            ca: file("ca.crt", &ca_cert.pem())?,
            cert: file("server.crt", &cert.pem())?,
            key: file("server.key", &key.serialize_pem())?,
            tokens: file("tokens.key", &tokens.serialize_pem())?,
            tokens_public: file("tokens.pub", &tokens.public_key_pem())?,
        })
    }
}
