"""Sixty texts that would do harm if any of them were run, resolved, opened, unpickled, expanded or formatted."""

from __future__ import annotations

import base64
import os
import pickle

PICKLE = base64.b64encode(pickle.dumps(os.getcwd)).decode()

STRINGS = [
    # code
    "__import__('os').system('touch owned')",
    "__import__('antigravity')",
    "eval('1+1')",
    "exec('import this')",
    "(lambda: open('owned', 'w'))()",
    "[x for x in ().__class__.__base__.__subclasses__()]",
    "().__class__.__mro__[1].__subclasses__()",
    "close.__class__.__init__.__globals__",
    "open('/etc/passwd').read()",
    "os.system",
    "os:system",
    "subprocess.Popen",
    "builtins.eval",
    "antigravity:fly",
    "importlib.import_module('this')",
    "close if True else exit()",
    "close; import os",
    "close := 1",
    "await close",
    "f'{__import__(\"os\").getcwd()}'",
    "@close",
    "ref(close, -1)",
    "ref(close, 10**9)",
    "9**9**9",
    # expansion and formats
    "{0.__class__.__init__.__globals__}",
    "{self.__class__}",
    "%(password)s",
    "%s%s%s%n",
    "${HOME}",
    "$HOME",
    "~/.ssh/id_rsa",
    "$(touch owned)",
    "`touch owned`",
    "; touch owned #",
    "| cat /etc/passwd",
    "&& curl http://127.0.0.1:9/",
    "{{ 7 * 7 }}",
    "<% import os %>",
    "a_{n in 1..99999}_{m in 1..99999}",
    # YAML
    "!!python/object/apply:os.system ['touch owned']",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!include /etc/passwd",
    "&a [*a]",
    "<<: *unknown",
    # pickles
    PICKLE,
    "cos\nsystem\n(S'touch owned'\ntR.",
    "base64:" + PICKLE,
    # paths and addresses
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "linked.csv",
    "outside/rows.csv",
    "..\\..\\windows\\win.ini",
    "file:///etc/passwd",
    "http://127.0.0.1:9/bars.csv",
    "zip:///etc/passwd::bars.csv",
    # texts that are not what they seem
    "\u0441lose",
    "\uff43\uff4c\uff4f\uff53\uff45",
    "close\u202e)1 ,esolc(fer",
    "clo\u200bse",
    "a\x00b",
    "1" * 5000,
    "-" * 190 + "close",
    "(" * 190 + "close" + ")" * 190,
    "1e999999",
    "nan",
]
