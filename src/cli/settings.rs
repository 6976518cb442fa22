//! Where an option's value comes from: a flag, else the environment, else the file, else the default.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, InvalidValue, listen_address};

/// The flags of `strongroom serve`, each also an environment variable.
#[derive(Args, Debug, Default)]
pub(super) struct ServeArgs {
    /// Read options from this TOML file.
    #[arg(long, env = "STRONGROOM_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Keep everything durable in this directory [default: strongroom-data].
    #[arg(long, env = "STRONGROOM_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Serve HTTPS on this address [default: 127.0.0.1:9000].
    #[arg(long, env = "STRONGROOM_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    pub(super) listen: Option<SocketAddr>,
    /// Serve plain HTTP on this address too.
    #[arg(long, env = "STRONGROOM_HTTP_LISTEN", value_name = "ADDR:PORT", value_parser = listen_address)]
    pub(super) http_listen: Option<SocketAddr>,
}

/// An option that cannot be.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    /// In the file, or in the whole.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// In the environment.
    #[error("{variable}: {problem}")]
    Environment {
        /// Which variable.
        variable: &'static str,
        /// What is wrong with it; its value is not shown.
        problem: InvalidValue,
    },
}

/// The configuration that `arguments`, the environment (as `variable` shows it) and the file make together.
pub(super) fn settle(arguments: ServeArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Config, SettingsError> {
    let mut config = match &arguments.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let root = &mut config.root;
    if let Some(id) = read(&variable, "STRONGROOM_ROOT_ACCESS_KEY_ID")? {
        root.access_key_id = Some(id);
        // A pair: the file's secret belongs to the file's id.
        root.secret_access_key = None;
    }
    if let Some(secret) = read(&variable, "STRONGROOM_ROOT_SECRET_ACCESS_KEY")? {
        root.secret_access_key = Some(secret);
    }
    if let Some(id) = read(&variable, "STRONGROOM_ACCOUNT_ID")? {
        root.account_id = id;
    }
    if let Some(region) = read(&variable, "STRONGROOM_REGION")? {
        config.region = region;
    }
    let ServeArgs { config: _, data_dir, listen, http_listen } = arguments;
    config.data_dir = data_dir.unwrap_or(config.data_dir);
    config.listen = listen.unwrap_or(config.listen);
    config.http_listen = http_listen.or(config.http_listen);
    Ok(config.consistent()?)
}

fn read<T: TryFrom<String, Error = InvalidValue>>(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<Option<T>, SettingsError> {
    // An empty variable counts as absent, as compose files and unit files leave them.
    let value = variable(name).filter(|value| !value.is_empty());
    value.map(T::try_from).transpose().map_err(|problem| SettingsError::Environment { variable: name, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = file("listen = \"127.0.0.1:1\"\ndata_dir = \"/from/file\"\nregion = \"eu-west-1\"\n");
        let arguments = ServeArgs {
            config: Some(file.path().to_owned()),
            listen: Some("127.0.0.1:2".parse().unwrap()),
            ..ServeArgs::default()
        };
        let config = settle(arguments, |_| None).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.data_dir, PathBuf::from("/from/file"));
        assert_eq!(config.region.to_string(), "eu-west-1");
        assert_eq!(config.http_listen, None);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = file(
            "region = \"eu-west-1\"\n[root]\naccess_key_id = \"AKIAFROMTHEFILE00000\"\n\
             secret_access_key = \"the file's secret, long enough\"\n"
                .replace("the file's secret, long enough", "the-files-secret-long-enough")
                .as_str(),
        );
        let arguments = || ServeArgs { config: Some(file.path().to_owned()), ..ServeArgs::default() };
        let config = settle(arguments(), |name| {
            Some(
                match name {
                    "STRONGROOM_ROOT_ACCESS_KEY_ID" => "AKIAFROMENVIRONMENT0",
                    "STRONGROOM_ROOT_SECRET_ACCESS_KEY" => "the-environments-secret",
                    "STRONGROOM_ACCOUNT_ID" => "123456789012",
                    "STRONGROOM_REGION" => "",
                    other => panic!("{other} is not in the contract"),
                }
                .to_owned(),
            )
        })
        .unwrap();
        assert_eq!(config.root.access_key_id.unwrap().to_string(), "AKIAFROMENVIRONMENT0");
        assert_eq!(config.root.secret_access_key.unwrap().expose(), b"the-environments-secret");
        assert_eq!(config.root.account_id.to_string(), "123456789012");
        assert_eq!(config.region.to_string(), "eu-west-1");

        let half = |name: &str| (name == "STRONGROOM_ROOT_ACCESS_KEY_ID").then(|| "AKIAFROMENVIRONMENT0".to_owned());
        assert!(settle(arguments(), half).unwrap_err().to_string().contains("together"));
    }

    #[test]
    fn a_variable_that_means_nothing_is_named_and_not_shown() {
        let wrong = |name: &str| (name == "STRONGROOM_ROOT_SECRET_ACCESS_KEY").then(|| "hunter2".to_owned());
        let error = settle(ServeArgs::default(), wrong).unwrap_err().to_string();
        assert!(error.starts_with("STRONGROOM_ROOT_SECRET_ACCESS_KEY: expected a secret access key"), "{error}");
        assert!(!error.contains("hunter2"));
    }
}
