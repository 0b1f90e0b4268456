//! What Python sees.

mod encoder;
mod mapper;
mod page;
mod value;
mod values;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::fault::Fault;

pyo3::create_exception!(
    headrace_native,
    Declined,
    PyValueError,
    "Left to the Python way, which takes it or says why not; the text names the place."
);

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        Declined::new_err(fault.to_string())
    }
}

fn declined<T>(what: &'static str) -> PyResult<T> {
    Err(Declined::new_err(what))
}

/// Grows when a signature changes.
const INTERFACE: u32 = 1;

/// The compiled transcoder of headrace.
#[pymodule]
fn headrace_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("INTERFACE", INTERFACE)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Declined", module.py().get_type::<Declined>())?;
    module.add_class::<encoder::Encoder>()?;
    module.add_class::<mapper::ItemMapper>()?;
    module.add_class::<values::Values>()?;
    module.add_function(wrap_pyfunction!(page::decode_page, module)?)
}
