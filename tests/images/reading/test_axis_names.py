import pytest

from streamgmm.errors import InputError
from streamgmm.images.reading.axis_names import name_axes


@pytest.mark.parametrize(
    ("shape", "axes", "named"),
    [
        ((5, 7), None, "YX"),
        ((50, 70, 3), None, "YXC"),
        ((3, 50, 70), None, "CYX"),
        ((5, 7, 12), "yxc", "YXC"),
        ((5, 3, 7), "YCX", "YCX"),
        ((5, 7), "XY", "XY"),
        ((5, 7, 9), "zyx", "ZYX"),
        ((5, 7, 9, 2, 3), "TCZYX", "TCZYX"),
    ],
)
def test_axes_come_from_letters_or_from_a_shape_that_leaves_no_doubt(shape, axes, named):
    assert name_axes(shape, axes) == named


@pytest.mark.parametrize("shape", [(3, 50, 4), (50, 60, 70), (3, 5, 7), (50, 3, 70), (4, 60, 12)])
def test_three_axes_of_uncertain_meaning_are_refused(shape):
    with pytest.raises(InputError, match="is not certain; pass axes='YXC' or axes='CYX', or axes='ZYX' for a volume"):
        name_axes(shape, None)


@pytest.mark.parametrize("shape", [(50, 60, 70, 3), (3, 1, 1, 50, 60)])
def test_four_or_more_axes_need_letters(shape):
    with pytest.raises(InputError, match="is not certain; name them by axes="):
        name_axes(shape, None)


@pytest.mark.parametrize("shape", [(), (5,), (1, 1, 1, 1, 5, 5)])
def test_fewer_than_two_axes_or_more_than_five_are_refused(shape):
    with pytest.raises(InputError, match="rows and columns at least, and five axes at most"):
        name_axes(shape, None)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((50, 70, 3), "YX"),
        ((50, 70), "YXC"),
        ((5, 5, 5), "XYS"),
        ((5,), "Y"),
        ((5, 5, 5), "YYX"),
        ((5, 5, 5), "ZXC"),
        ((5, 5), ""),
        ((5, 5), 3),
    ],
)
def test_letters_that_do_not_match_the_axes_are_refused(shape, axes):
    with pytest.raises(InputError, match="does not name the axes"):
        name_axes(shape, axes)
