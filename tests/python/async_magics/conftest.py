"""Fixtures: a kernel with magics that are coroutines, and the forms of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commands_of_cells import COMMANDS

if TYPE_CHECKING:
    from support import Client


DEFINE = """
import asyncio, functools
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic import output_can_be_silenced
from IPython.core.magic import register_cell_magic, register_line_cell_magic, register_line_magic

@register_line_magic
async def upper(line):
    await asyncio.sleep(0)
    return line.upper()

@register_line_magic
def promised(line):
    return asyncio.ensure_future(asyncio.sleep(0, line))

@register_line_magic
@no_var_expand
async def raw(line):
    return line

@register_line_magic
@output_can_be_silenced
async def silenced(line):
    return line

@register_line_magic
async def pair(line):
    await asyncio.sleep(0)
    return line[0], line[1]

@register_cell_magic
async def inner(line, cell):
    await asyncio.sleep(0)
    ip = get_ipython()
    await ip.run_cell_async(cell, transformed_cell=ip.transform_cell(cell))
    return line

@register_line_cell_magic
async def both(line, cell=None):
    await asyncio.sleep(0)
    return line, cell

@register_line_magic
def sync(line):
    return 'sync ' + line

@register_line_magic
async def boom(line):
    await asyncio.sleep(0)
    raise ValueError('boom')

@register_line_magic
def sync_boom(line):
    raise ValueError('boom')

@magics_class
class Mine(Magics):
    @line_cell_magic
    @needs_local_scope
    async def local(self, line, cell=None, local_ns=None):
        await asyncio.sleep(0)
        return line, cell, local_ns.get('here')

get_ipython().register_magics(Mine)
del upper, promised, boom
"""


@pytest.fixture
def client(client: Client) -> Client:
    assert client.run(DEFINE).status == "ok"
    return client


@pytest.fixture(params=COMMANDS.values(), ids=COMMANDS.keys())
def form(request: pytest.FixtureRequest) -> str:
    return request.param
