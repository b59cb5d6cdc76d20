//! Files that the operator granted by name (`grants.files` in the configuration).

use crate::Error;
use crate::bindings::host::witgate::host::files;

/// Appends the bytes to the granted file in one write, creating it when it is missing. The name `stdout` means the
/// gateway's standard output. The error says what to grant, or what the system answered.
pub fn append(name: &str, data: &[u8]) -> Result<(), Error> {
    files::append(name, data).map_err(Error::Failed)
}
