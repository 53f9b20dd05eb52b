"""xarray objects: samples may have several dims, and results keep the dims, coordinates and attributes of the input.

Rows are the points of all dims but the feature dim: in C order for values in memory, block by block for dask's, so
that no block is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from streamgmm.data.checks import check_shape, choose_dtype
from streamgmm.data.sources.dask_arrays import DaskSource, from_dask
from streamgmm.data.sources.in_memory import ArraySource, from_array
from streamgmm.errors import InputError

COMPONENT_DIM = "component"


def from_xarray(X: Any, sample_weight: Any = None, feature_dim: Any = None) -> ArraySource | DaskSource:
    """Return a source of a Dataset, whose variables are the features, or of a DataArray with a feature dim.

    Parameters
    ----------
    X : xarray.Dataset or xarray.DataArray
        The variables of a Dataset must have the same dims.
    sample_weight : array-like or xarray.DataArray, optional
        One weight for each point; a DataArray has the sample dims, an array their shape or is 1-d in C order.
    feature_dim : hashable, optional
        Dim of a DataArray; by default the last of two.
    """
    if isinstance(X, xr.Dataset):
        X, feature_dim = _stack_variables(X)
    elif feature_dim is None:
        if X.ndim > 2:
            raise InputError(
                f"X is a DataArray with dims {X.dims}, and which of them holds the features is not known; pass "
                f"X.to_dataset(dim=...) with that dim, such as X.to_dataset(dim={X.dims[-1]!r})."
            )
        check_shape(X.shape, "DataArray")
        feature_dim = X.dims[-1]
    if feature_dim not in X.dims or X.ndim < 2:
        raise InputError(f"X has dims {X.dims}; it needs the feature dim {feature_dim!r} and at least one other.")
    X = X.transpose(..., feature_dim)
    check_shape((X[..., 0].size if X.shape[-1] else 1, X.shape[-1]), "DataArray")
    labels = X.coords[feature_dim].values.tolist() if feature_dim in X.coords else []
    names = np.array(labels, dtype=object) if labels and all(isinstance(label, str) for label in labels) else None
    template = X.isel({feature_dim: 0}, drop=True)
    if sample_weight is not None:
        sample_weight = _shape_weights(sample_weight, template)
    make = _from_lazy if X.chunks else _from_memory
    return make(X, sample_weight, names, template)


def _from_memory(X: Any, weights: Any, names: NDArray[np.object_] | None, template: Any) -> ArraySource:
    inner = from_array(X.values.reshape(-1, X.shape[-1]), None if weights is None else np.ravel(weights))

    def wrap(result: NDArray[Any]) -> Any:
        return _label(result.reshape(*template.shape, *result.shape[1:]), template)

    return ArraySource(inner.rows, inner.weights, names, wrap)


def _from_lazy(X: Any, weights: Any, names: NDArray[np.object_] | None, template: Any) -> DaskSource:
    values = X.data.rechunk({X.ndim - 1: -1})
    n_rows, n_features = template.size, X.shape[-1]
    reshape: Callable[..., Any] = da.reshape_blockwise
    if weights is not None:
        weights = weights if isinstance(weights, da.Array) else da.from_array(weights)
        weights = weights.rechunk(values.chunks[:-1])
        weights = weights if X.ndim == 2 else reshape(weights, (n_rows,))

    def wrap(result: Any) -> Any:
        if X.ndim > 2:
            ends = [(length,) for length in result.shape[1:]]
            shape = (*template.shape, *result.shape[1:])
            result = reshape(result, shape, chunks=(*values.chunks[:-1], *ends))
        return _label(result, template)

    rows = values if X.ndim == 2 else reshape(values, (n_rows, n_features))
    return from_dask(rows, weights, feature_names=names, wrap=wrap, kind="xarray object")


def _stack_variables(X: Any) -> tuple[Any, str]:
    """Stack the variables of a Dataset into a DataArray, along a new last dim."""
    variables = list(X.data_vars.values())
    if not variables:
        raise InputError("X is a Dataset without variables; its variables are the features.")
    first = variables[0]
    for variable in variables:
        if set(variable.dims) != set(first.dims):
            raise InputError(
                f"The variables {first.name!r} with dims {first.dims} and {variable.name!r} with dims "
                f"{variable.dims} of X differ in dims; select variables of the same dims."
            )
        choose_dtype(variable.dtype)
    dim = "variable"
    while dim in X.dims or dim in X.coords:
        dim += "_"
    elsewhere = [name for name, coord in X.coords.items() if not set(coord.dims) <= set(first.dims)]
    return X.drop_vars(elsewhere).to_dataarray(dim=dim).transpose(*first.dims, dim), dim


def _shape_weights(weights: Any, template: Any) -> Any:
    """Return weights of the shape of the samples, lazy if they are lazy."""
    if isinstance(weights, xr.DataArray):
        if set(weights.dims) != set(template.dims) or weights.size != template.size:
            raise InputError(
                f"sample_weight has dims {dict(weights.sizes)}, but the samples of X have {dict(template.sizes)}; pass "
                "one weight for each point."
            )
        return weights.transpose(*template.dims).data
    array = weights if hasattr(weights, "reshape") else np.asarray(weights)
    if array.size != template.size:
        raise InputError(f"sample_weight has {array.size} values for {template.size} points of X; pass one for each.")
    return array.reshape(template.shape)


def _label(result: Any, template: Any) -> Any:
    dims = (*template.dims, COMPONENT_DIM) if result.ndim > template.ndim else template.dims
    return xr.DataArray(result, dims=dims, coords=template.coords, attrs=template.attrs)
