//! How to run LocalStack, and how a test finds it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// The environment variable with the endpoint that tests share.
pub const SHARED_ENDPOINT: &str = "AMPLIFY_E2E_ENDPOINT";

const HOME: &str = "AMPLIFY_LOCALSTACK_HOME";
const IMAGE: &str = "AMPLIFY_LOCALSTACK_IMAGE";
const PYTHON: &str = "AMPLIFY_LOCALSTACK_PYTHON";
const NODE: &str = "AMPLIFY_LOCALSTACK_NODE";
const KINESIS_LOCAL: &str = "AMPLIFY_LOCALSTACK_KINESIS_LOCAL";

/// A LocalStack that is ready to start.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The directory that holds a subdirectory for each LocalStack.
    pub home: PathBuf,
    /// What runs it.
    pub engine: Engine,
}

/// What runs LocalStack.
#[derive(Debug, Clone)]
pub enum Engine {
    /// The local Docker engine.
    Docker {
        /// The image, with its tag.
        image: String,
    },
    /// This machine.
    Host(HostEngine),
}

/// The programs that make up LocalStack on this machine.
#[derive(Debug, Clone)]
pub struct HostEngine {
    /// The interpreter of LocalStack's virtual environment.
    pub python: PathBuf,
    /// The Node.js executable, for the Kinesis back end.
    pub node: PathBuf,
    /// The directory of the Kinesis back end, named by its version.
    pub kinesis_local: PathBuf,
}

impl Installation {
    /// The environment variables that [`Installation::from_env`] reads.
    pub fn to_env(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![(HOME, self.home.clone().into())];
        match &self.engine {
            Engine::Docker { image } => variables.push((IMAGE, image.into())),
            Engine::Host(host) => variables.extend([
                (PYTHON, host.python.clone().into()),
                (NODE, host.node.clone().into()),
                (KINESIS_LOCAL, host.kinesis_local.clone().into()),
            ]),
        }
        variables
    }

    /// The installation that `cargo xtask e2e` prepared for this process.
    ///
    /// # Errors
    /// If `cargo xtask e2e` did not start this process.
    pub fn from_env() -> io::Result<Self> {
        let engine = match env::var(IMAGE) {
            Ok(image) => Engine::Docker { image },
            Err(_) => Engine::Host(HostEngine {
                python: variable(PYTHON)?.into(),
                node: variable(NODE)?.into(),
                kinesis_local: variable(KINESIS_LOCAL)?.into(),
            }),
        };
        Ok(Self {
            home: variable(HOME)?.into(),
            engine,
        })
    }
}

/// The endpoint that the tests of this process share.
///
/// # Errors
/// If `cargo xtask e2e` did not start this process.
pub fn shared_endpoint() -> io::Result<String> {
    variable(SHARED_ENDPOINT)?
        .into_string()
        .map_err(|_| io::Error::other(format!("{SHARED_ENDPOINT} is not UTF-8")))
}

fn variable(name: &str) -> io::Result<OsString> {
    env::var_os(name).ok_or_else(|| {
        io::Error::other(format!(
            "{name} is not set: run these tests by `cargo xtask e2e`"
        ))
    })
}
