//! Certificates with their keys, as s2n has them: each pair is loaded once, and all configurations share it.
//!
//! A pair that does not fit is an error here, whatever the master has said of it: s2n compares the key with the certificate.

use std::collections::{BTreeMap, BTreeSet};

use gin_shared::config::listen::PairFiles;
use gin_shared::tls::material::{Material, Pair};
use s2n_tls::cert_chain::{Builder as ChainBuilder, CertificateChain};
use s2n_tls::config::Builder;
use s2n_tls::error::Error;

use super::error::{TlsError, why};

/// Certificates by their files.
pub(super) struct Chains(BTreeMap<PairFiles, CertificateChain<'static>>);

impl Chains {
    /// Loads the pairs that listeners name. Others of the material belong to other generations, and are left alone.
    ///
    /// # Errors
    /// If one is missing, or s2n does not take it.
    pub(super) fn load<'a>(material: &Material, named: impl Iterator<Item = &'a PairFiles>) -> Result<Self, TlsError> {
        let named: BTreeSet<&PairFiles> = named.collect();
        let chains = named.into_iter().map(|files| of_files(material, files).map(|chain| (files.clone(), chain)));
        Ok(Self(chains.collect::<Result<_, TlsError>>()?))
    }

    /// Adds these pairs to a configuration. Clients choose among them by the name that they ask for (SNI), an exact name before a wildcard;
    /// the first one is for all others.
    ///
    /// # Errors
    /// If the policy of the configuration does not allow one.
    pub(super) fn add(&self, pairs: &[PairFiles], builder: &mut Builder) -> Result<(), TlsError> {
        for files in pairs {
            let chain = self.get(files)?.clone();
            builder.load_chain(chain).map_err(|error| refused(files, &error))?;
        }
        if let Some(files) = pairs.first() {
            let default = self.get(files)?.clone();
            builder.set_default_chains([default]).map_err(|error| refused(files, &error))?;
        }
        Ok(())
    }

    fn get(&self, files: &PairFiles) -> Result<&CertificateChain<'static>, TlsError> {
        self.0.get(files).ok_or_else(|| TlsError::Missing(files.clone()))
    }
}

fn of_files(material: &Material, files: &PairFiles) -> Result<CertificateChain<'static>, TlsError> {
    let pair = material.pairs.iter().find(|pair| pair.files == *files);
    let pair = pair.ok_or_else(|| TlsError::Missing(files.clone()))?;
    loaded(pair).map_err(|error| refused(files, &error))
}

fn loaded(pair: &Pair) -> Result<CertificateChain<'static>, Error> {
    let mut builder = ChainBuilder::new()?;
    builder.load_pem(pair.chain.as_bytes(), pair.key.bytes())?;
    builder.build()
}

fn refused(files: &PairFiles, error: &Error) -> TlsError {
    TlsError::Pair { files: files.clone(), why: why(error) }
}
