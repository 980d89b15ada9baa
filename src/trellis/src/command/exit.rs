//! Exit: how a command says that it failed.

use std::{error::Error, io::IsTerminal as _, process::ExitCode};

use trellis_bootstrap::in_one_line;
use trellis_manual::{ClientError, SpecError};
use trellis_settings::SettingsError;

pub(crate) const COULD_NOT: u8 = 1;
const WRONG: u8 = 2;
/// There is no such cluster, or no such record.
pub(crate) const NOT_UP: u8 = 3;
/// There are no peers whose chain could be followed.
pub(crate) const NO_TARGET: u8 = 3;
/// A node is on another network than the peers.
pub(crate) const OTHER_NETWORK: u8 = 4;
/// As a shell has it for Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// It ended in a way that has a code of its own.
    pub(crate) fn of(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// It could not be done.
    pub(crate) fn could_not(text: impl Into<String>) -> Self {
        Self {
            code: COULD_NOT,
            text: text.into(),
        }
    }

    /// It could not be done, because of `error`.
    pub(crate) fn because_of(error: &dyn Error) -> Self {
        Self::could_not(in_one_line(error))
    }

    /// The call or what it names is wrong.
    pub(crate) fn wrong(text: impl Into<String>) -> Self {
        Self {
            code: WRONG,
            text: text.into(),
        }
    }

    /// A file that people write is wrong; drawn, since there is something to see.
    pub(crate) fn wrong_file(error: &SettingsError) -> Self {
        let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self::wrong(error.render(colored).trim_end())
    }

    /// It was ended before it was done.
    pub(crate) fn interrupted(text: impl Into<String>) -> Self {
        Self {
            code: INTERRUPTED,
            text: text.into(),
        }
    }

    /// Says why, and ends the command.
    pub(crate) fn exit(self) -> ExitCode {
        eprintln!("{}", self.text);
        self.code.into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match error {
            ClientError::NoCluster { .. } | ClientError::None | ClientError::Killed { .. } => {
                NOT_UP
            }
            ClientError::Which { .. } => WRONG,
            _ => COULD_NOT,
        };
        let text = in_one_line(&error);
        Self { code, text }
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        match error {
            SpecError::Wrong(error) => Self::wrong_file(&error),
            error => Self::wrong(in_one_line(&error)),
        }
    }
}
