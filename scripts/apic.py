#!/usr/bin/env python3
"""The API compiler: api/*.api -> C tables and typed accessors.

    apic.py API-DIR tables.c types.h hooks.h

The language, by example (docs/api-language.md has all of it):

    group apps version v1                   the group-version this file describes
    package io.k8s.api.apps.v1              where OpenAPI says its types live
    use core/v1 meta/v1                     other files, whose types are written core.PodSpec

    resource deployments of Deployment      a resource; `cluster` at the end when it is not namespaced
            short deploy
            category all
            verbs all
            sub scale autoscaling/v1.Scale: get patch update
            column Up-to-date string .status.updatedReplicas
            column wide Containers string join .spec.template.spec.containers[*].name

    ## Two lines about the type.
    type DeploymentSpec
            replicas?  *int32  = 1  default 1  | How many pods are wanted.
            ^name      ^type   ^protobuf       ^doc, or on the next line behind a `|`
            `?` is omitempty, `*` tells absent from zero

A resource implies its list type. Everything is checked here; a mistake stops the build with file and line.
"""
import os
import re
import shlex
import sys

SCALARS = {  # name in the language: (kind, as Go prints it)
    'bool': ('BOOL', 'bool'),
    'int32': ('INT32', 'int32'),
    'int64': ('INT64', 'int64'),
    'float64': ('DOUBLE', 'float64'),
    'string': ('STRING', 'string'),
    'bytes': ('BYTES', '[]uint8'),
    'quantity': ('QUANTITY', 'resource.Quantity'),
    'time': ('TIME', 'v1.Time'),
    'microtime': ('MICRO_TIME', 'v1.MicroTime'),
    'duration': ('DURATION', 'v1.Duration'),
    'intorstring': ('INT_OR_STRING', 'intstr.IntOrString'),
    'any': ('ANY', 'interface {}'),
}
VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
ALWAYS = ['required', 'descend', 'csi_driver', 'label_name', 'object_name']  # rules that absent values can break
LIST_TYPES = ['atomic', 'set', 'map']
CELL_KINDS = ['since', 'count', 'join', 'labels', 'selector', 'text', 'flag', 'pair']  # or plainly the value


class Mistake(Exception):
    pass


class Type:
    def __init__(self, kind, name=None, group_version=None, **attributes):
        self.kind, self.name, self.gv = kind, name, group_version
        self.doc = self.elem = self.values = self.defaults = self.package = None
        self.fields, self.flags, self.raw = [], set(), None
        self.rules = []  # of validation: (field or None, name, each, numbers, text)
        self.order = []  # the fields, embedded types and None (itself) that checks name, in the order errors have
        self.go_name = None
        self.__dict__.update(attributes)


class Field:
    def __init__(self, name, type, pb, flags=(), **attributes):
        self.name, self.type, self.pb, self.flags = name, type, pb, set(flags)
        self.dflt = self.patch_key = self.list_keys = self.list_type = self.doc = None
        self.inline = False
        self.__dict__.update(attributes)


class Resource:
    def __init__(self, plural, kind, namespaced):
        self.plural, self.kind, self.namespaced = plural, kind, namespaced
        self.short, self.category, self.subs, self.columns, self.fields = [], [], [], [], []
        self.verbs, self.stored, self.warning, self.singular = [], None, None, kind.lower()


class GroupVersion:
    def __init__(self, path):
        self.path = path  # "apps/v1"
        self.group = self.version = self.package = None
        self.types, self.resources, self.uses, self.served = {}, [], {}, True


class Api:
    """All files together: scopes, type expressions, names in C."""

    def __init__(self, directory):
        self.dir = directory
        self.gvs = {}
        self.anonymous = {}
        self.scalars = {n: Type(k, go_name=g, c='scalar_' + n) for n, (k, g) in SCALARS.items()}
        with open(os.path.join(directory, 'index'), encoding='utf-8') as f:
            names = [l.strip() for l in f if l.strip() and not l.startswith('#')]
        for name in names:
            self.gvs[name] = Parser(os.path.join(directory, name + '.api'), name).parse()
        self.link()

    def fail(self, where, text):
        raise Mistake('%s: %s' % (where, text))

    def find(self, gv, name, where):
        if name in self.scalars and '.' not in name:
            return self.scalars[name]
        if '.' in name:
            scope, name = name.split('.', 1)
            path = scope if '/' in scope else gv.uses.get(scope)
            if path not in self.gvs:
                self.fail(where, 'unknown scope %s (is it in `use`?)' % scope)
            gv = self.gvs[path]
        if name not in gv.types:
            self.fail(where, 'unknown type %s in %s' % (name, gv.path))
        t = gv.types[name]
        if t.kind == 'ALIAS':
            self.link_type(t.gv, t, ())
        return t

    def resolve(self, gv, text, where):
        """A type expression without its leading '*'."""
        m = re.match(r'\[\]|map\[([^]]+)\]', text)
        if not m:
            return self.find(gv, text, where)
        elem = self.resolve(gv, text[m.end():].lstrip('*'), where)
        pointer = '*' if text[m.end():].startswith('*') else ''
        if m.group(1):
            key = self.find(gv, m.group(1), where)
            kind, go = 'MAP', 'map[%s]' % key.go_name
            if key.kind != 'STRING':
                self.fail(where, 'map keys are strings')
        else:
            kind, go = 'LIST', '[]'
        go += pointer + elem.go_name
        t = self.anonymous.get((kind, elem.c))
        if not t:
            t = Type(kind, elem=elem, go_name=go, c='%s_of_%s' % (kind.lower(), elem.c))
            self.anonymous[kind, elem.c] = t
        return t

    def link(self):
        taken = {}
        for gv in self.gvs.values():
            for r in gv.resources:
                if r.kind not in gv.types:
                    self.fail(gv.path, 'resource %s of unknown type %s' % (r.plural, r.kind))
                if 'create' in r.verbs and 'list' not in r.verbs:
                    continue
                meta = '' if gv.path == 'meta/v1' else 'meta.'
                lst = Type('STRUCT', r.kind + 'List', gv, go_name='%s.%sList' % (gv.version, r.kind),
                           doc='List of %s.' % r.plural)
                lst.flags.add('OBJECT')
                lst.raw = [Field('metadata', meta + 'ListMeta', 1, ['OMITEMPTY'], where=gv.path, doc='Of which version the list is, and how it goes on.'),
                           Field('items', '[]' + r.kind, 2, where=gv.path, doc='The objects.')]
                lst.package = gv.package
                gv.types[lst.name] = lst
            for t in gv.types.values():
                t.accessor = self.claim(taken, t.name, gv)
                t.c = 'type_' + t.accessor
        for gv in self.gvs.values():
            for t in gv.types.values():
                self.link_type(gv, t, ())
        self.mark('HAS_DEFAULTS', self.has_defaults)
        self.mark('ODD_SETS', self.has_odd_sets)
        for gv in self.gvs.values():
            for t in gv.types.values():
                t.rules = self.rules_in_order(t)
                t.ranks = self.ranks(t)
        handles = {}
        for gv in self.gvs.values():
            for r in gv.resources:
                base = r.plural
                if base in handles:
                    other = handles[base]
                    base += '_' + (gv.version if other.group == gv.group else re.sub(r'\W', '_', gv.group))
                handles[base] = gv
                r.c = 'res_' + base
                r.gv = gv
                r.type = gv.types[r.kind]
                r.list_type = gv.types.get(r.kind + 'List')
        for gv in self.gvs.values():
            for r in gv.resources:
                self.link_resource(gv, r)

    @staticmethod
    def claim(taken, name, gv):
        """A name in C for a type: its own, unless an earlier group-version has it."""
        n = name
        if n in taken:
            first = taken[n]
            n = name + gv.version.upper() if first.group == gv.group else gv.path.split('/')[0].capitalize() + name
            if n in taken:
                n += gv.version.upper()
        taken[n] = gv
        return n

    def link_type(self, gv, t, stack):
        if t.raw is None:
            return
        if t in stack:
            self.fail(gv.path, 'type %s contains itself' % t.name)
        raw, t.raw = t.raw, None
        if isinstance(raw, str):  # alias
            a = self.resolve(gv, raw, t.where)
            for k in ('kind', 'elem', 'values'):
                setattr(t, k, getattr(a, k))
            return
        if not t.doc and t.kind == 'STRUCT':
            self.fail(gv.path, 'type %s has no doc' % t.name)
        t.inlines = []
        if 'OBJECT' in t.flags:
            string = self.scalars['string']
            t.fields = [Field('kind', string, 0, ['OMITEMPTY'], doc='What kind of object this is.'),
                        Field('apiVersion', string, 0, ['OMITEMPTY'], doc='The group and version in which it is written.')]
        for f in raw:
            text = f.type
            if text.startswith('*'):
                f.flags.add('POINTER')
                text = text[1:]
            f.type = self.resolve(gv, text, f.where)
            if f.inline:
                inner = f.type
                self.link_type(inner.gv, inner, stack + (t,))
                t.rules = inner.rules + t.rules
                t.inlines.append((inner, f.pb))
                for g in inner.fields:
                    copy = Field(g.name, g.type, 0)
                    copy.__dict__.update(g.__dict__)
                    copy.flags = set(g.flags)
                    copy.pb, copy.own = 0, False
                    t.fields.append(copy)
                continue
            t.fields.append(f)
        seen = set()
        for f in t.fields:
            if f.name in seen:
                self.fail(gv.path, '%s.%s is there twice' % (t.name, f.name))
            if not f.doc and t.kind == 'STRUCT':
                self.fail(gv.path, '%s.%s has no doc' % (t.name, f.name))
            seen.add(f.name)
        for rule in t.rules:
            if rule[0] and rule[0] not in seen:
                self.fail(gv.path, '%s has no field %s to check' % (t.name, rule[0]))
        numbers = [f.pb for f in t.fields if f.pb] + [pb for _, pb in t.inlines if pb]
        if len(set(numbers)) != len(numbers):
            self.fail(gv.path, 'type %s uses a protobuf number twice' % t.name)

    def mark(self, flag, has):
        """A flag of the types that have something spreads upwards, so that others are skipped."""
        types = [t for gv in self.gvs.values() for t in gv.types.values()] + list(self.anonymous.values())
        marked, changed = set(), True
        while changed:
            changed = False
            for t in types:
                if t.c in marked:
                    continue
                if has(t) or (t.elem and t.elem.c in marked) or any(f.type.c in marked for f in t.fields):
                    marked.add(t.c)
                    t.flags.add(flag)
                    changed = True

    def walked(self, t):
        """The structs in it that Go always has, and that validation looks at."""
        opaque = {r[0] for r in t.rules if r[1] == 'opaque'}
        return [f for f in t.fields if 'POINTER' not in f.flags and f.name not in opaque and self.demands(f.type)]

    @staticmethod
    def has_defaults(t):
        return t.defaults or any(f.dflt is not None for f in t.fields)

    @staticmethod
    def has_odd_sets(t):
        """A list whose items may lack their key."""
        return any(k.name in re.split(r'[ ,]+', f.list_keys or '') and k.dflt is None and
                   'OMITEMPTY' in k.flags and 'SHOWN' not in k.flags
                   for f in t.fields if f.type.elem for k in f.type.elem.fields)

    def demands(self, t):
        """Whether something is wrong with an empty value of the type."""
        return t.kind == 'STRUCT' and (any(r[1] in ALWAYS or not r[0] for r in t.rules) or bool(self.walked(t)))

    def rules_in_order(self, t):
        """Rules by field; a struct that is always there is walked even when it is absent from the JSON."""
        place = {f.name: i for i, f in enumerate(t.fields)}
        rules = [(place[r[0]] if r[0] else len(place),) + r[1:] for r in t.rules if r[1] != 'descend']
        rules += [(place[f.name], 'descend', False, [], None) for f in self.walked(t) if f.name != 'metadata']
        return sorted(rules, key=lambda r: r[0])

    def ranks(self, t):
        """The fields in the order in which errors name them: first those that checks name, and what they embed."""
        inner = {i.name: self.ranks(i) for i, _ in getattr(t, 'inlines', ())}
        names = {f.name for f in t.fields}
        order = [n for o in t.order for n in (inner[o] if o in inner else [o])]
        if 'metadata' in names:
            order.insert(0, 'metadata')
        rest = [f.name for f in t.fields] + [None]
        for n in order:
            if n is not None and n not in names:
                self.fail(t.gv.path, '%s has no field %s to check' % (t.name, n))
        return list(dict.fromkeys([n for n in order] + rest))

    def link_resource(self, gv, r):
        if r.stored:
            other = [x for x in self.gvs[r.stored].resources if x.plural == r.plural]
            if not other:
                self.fail(gv.path, '%s is stored as %s, which has no such resource' % (r.plural, r.stored))
            r.stored = other[0]
            r.columns = r.columns or other[0].columns
        subs = []
        for name, kind, verbs in r.subs:
            t = self.find(gv, kind, gv.path) if kind else r.type
            subs.append((name, t, verbs))
        r.subs = sorted(subs, key=lambda s: s[0])


class Parser:
    """One file: lines of one statement each; indented lines belong to the statement above."""

    def __init__(self, path, name):
        self.path = path
        self.gv = GroupVersion(name)
        self.doc = []
        self.body = None
        self.line = 0

    def where(self):
        return '%s:%d' % (self.path, self.line)

    def fail(self, text):
        raise Mistake('%s: %s' % (self.where(), text))

    def parse(self):
        with open(self.path, encoding='utf-8') as f:
            for self.line, line in enumerate(f, 1):
                line = line.rstrip('\n')
                if line.startswith('## '):
                    self.doc.append(line[3:])
                elif not line.strip() or line.lstrip().startswith('#'):
                    continue
                elif line[0].isspace():
                    if not self.body:
                        self.fail('nothing this line belongs to')
                    self.body(line.strip())
                else:
                    word, _, rest = line.partition(' ')
                    handler = getattr(self, 'top_' + word, None)
                    if not handler:
                        self.fail('unknown statement %s' % word)
                    self.body = None
                    handler(rest.strip())
                    self.doc = []
        if self.gv.group is None or self.gv.package is None:
            self.fail('group and package are missing')
        return self.gv

    # -- statements --

    def top_group(self, rest):
        m = re.fullmatch(r'(\S+) version (\S+)', rest) or self.fail('group NAME version VERSION')
        self.gv.group, self.gv.version = '' if m[1] == 'core' else m[1], m[2]

    def top_package(self, rest):
        self.gv.package = rest

    def top_types(self, rest):
        if rest != 'only':
            self.fail('types only')
        self.gv.served = False

    def top_use(self, rest):
        for path in rest.split():
            self.gv.uses[path.split('/')[0]] = path

    def add_type(self, kind, name, words=(), **attributes):
        if name in self.gv.types:
            self.fail('type %s is there twice' % name)
        t = Type(kind, name, self.gv, doc=' '.join(self.doc) or None, package=self.gv.package, where=self.where(),
                 **attributes)
        package = self.gv.package
        words = list(words)
        if 'package' in words:
            i = words.index('package')
            package = t.package = words[i + 1]
            del words[i:i + 2]
        last = package.split('.')[-1]
        t.go_name = '%s.%s' % (last, name)
        for w in words:
            flag = {'object': 'OBJECT', 'atomic': 'ATOMIC', 'open': 'OPEN_ENUM', 'checked': 'CHECKED_ENUM', 'untold': 'UNTOLD_ENUM', 'message': 'ITEMS_MESSAGE'}.get(w)
            t.flags.add(flag or self.fail('unknown attribute %s' % w))
        self.gv.types[name] = t
        return t

    def top_type(self, rest):
        name, *words = rest.split()
        t = self.add_type('STRUCT', name, words, raw=[])
        self.body = lambda line: self.type_line(t, line)

    def top_union(self, rest):
        t = self.add_type('UNION', rest, raw=[])
        self.body = lambda line: self.type_line(t, line)

    def top_check(self, rest):
        t = self.gv.types.get(rest) or self.fail('unknown type %s (checks come after it)' % rest)
        self.body = lambda line: self.check_line(t, line)

    def check_line(self, t, line):
        name, _, rest = line.partition(' ')
        t.order.append(name if name != '*' else None)
        for m in re.finditer(r'(each )?(\w+)(?:\(((?:"[^"]*"|[^)"])*)\))?', rest):
            args = re.findall(r'"[^"]*"|[^,\s]+', m[3] or '')
            numbers = [int(a) for a in args if a[0] != '"']
            text = [a.strip('"') for a in args if a[0] == '"']
            t.rules.append((name if name != '*' else None, m[2], bool(m[1]), numbers, text[0] if text else None))

    def top_any(self, rest):
        name, *words = rest.split()
        self.add_type('ANY', name, words)

    def top_alias(self, rest):
        name, target, *words = rest.split()
        t = self.add_type('ALIAS', name, words, raw=target)
        self.body = lambda line: self.alias_line(t, line)

    def alias_line(self, t, line):
        if not line.startswith('default by '):
            self.fail('default by FUNCTION')
        t.defaults = line[len('default by '):]

    def top_enum(self, rest):
        name, *words = rest.split()
        t = self.add_type('STRING', name, words, values=[])
        self.body = lambda line: t.values.extend(shlex.split(line))  # "" and values with spaces are quoted

    def top_resource(self, rest):
        m = re.fullmatch(r'(\S+) of (\S+)( cluster)?', rest) or self.fail('resource PLURAL of KIND [cluster]')
        r = Resource(m[1], m[2], not m[3])
        self.gv.resources.append(r)
        self.body = lambda line: self.resource_line(r, line)

    # -- lines of a type --

    def type_line(self, t, line):
        if line.startswith('| '):  # the doc of the field above, where it did not fit, or goes on
            if not t.raw:
                self.fail('no field this belongs to')
            t.raw[-1].doc = ' '.join(filter(None, [t.raw[-1].doc, line[2:].strip()]))
            return
        line, _, doc = (x.strip() for x in line.partition(' | '))
        if line.startswith('default by '):
            t.defaults = line[len('default by '):]
            return
        m = re.fullmatch(r'(\S+?)(\?)?\s+(\S+)(?:\s+= (\d+))?(?:\s+(.*))?', line) or self.fail('not a field: %s' % line)
        f = Field(m[1], m[3], int(m[4] or 0), doc=doc or None, where=self.where(), own=True)
        f.inline = m[1] == 'inline' and not m[2] and m[3][:1].isupper() | ('.' in m[3])
        if m[2]:
            f.flags.add('OMITEMPTY')
        self.annotations(f, m[5] or '')
        t.raw.append(f)

    def annotations(self, f, text):
        head, default, value = text.partition('default ')
        if default:
            f.dflt = value.strip()
        for w in head.split():
            m = re.fullmatch(r'(\w+)(?:\(([^)]*)\))?', w) or self.fail('unknown annotation %s' % w)
            name, arg = m[1], m[2]
            if name == 'atomic' and not arg and not f.type.lstrip('*').startswith('[]'):
                f.flags.add('MAP_ATOMIC')
            elif name in LIST_TYPES:
                f.list_type, f.list_keys = name, arg if name != 'atomic' else None
            elif name == 'merge':
                f.flags.add('PATCH_MERGE')
                f.patch_key = arg
            elif name in ('optional', 'required', 'granular', 'off', 'shown'):
                f.flags.add(name.upper())
            elif name == 'retainkeys':
                f.flags.add('PATCH_RETAIN_KEYS')
            elif name == 'replace':
                f.flags.add('PATCH_REPLACE')
            else:
                self.fail('unknown annotation %s' % w)

    # -- lines of a resource --

    def resource_line(self, r, line):
        word, _, rest = line.partition(' ')
        if word in ('short', 'category', 'fields'):
            getattr(r, word).extend(rest.split())
        elif word == 'verbs':
            r.verbs = VERBS if rest == 'all' else self.verbs(rest)
        elif word == 'singular':
            r.singular = rest
        elif word == 'warns':
            r.warning = rest
        elif word == 'stored':
            r.stored = rest.partition('as ')[2]
        elif word == 'sub':
            m = re.fullmatch(r'(\S+?)(?: (\S+?))?: (.*)', rest) or self.fail('sub NAME [TYPE]: VERBS')
            r.subs.append((m[1], m[2], self.verbs(m[3])))
        elif word == 'column':
            self.column(r, rest)
        else:
            self.fail('unknown line %s' % word)

    def verbs(self, text):
        for v in text.split():
            if v not in VERBS:
                self.fail('unknown verb %s' % v)
        return text.split()

    def column(self, r, rest):
        rest, _, doc = (x.strip() for x in rest.partition(' | '))
        m = re.fullmatch(r'(wide )?("[^"]+"|\S+) +(string|integer|number|boolean|date)(?:/(\S+))? +(?:(%s) )?(\S+?)(\(\))?'
                         r'(?: or (.+))?' % '|'.join(CELL_KINDS), rest)
        if not m:
            self.fail('column [wide] NAME TYPE[/FORMAT] [%s] PATH [or TEXT], or FUNCTION()' % '|'.join(CELL_KINDS))
        r.columns.append({
            'name': quote(m[2].strip('"')), 'type': quote(m[3]), 'format': quote(m[4] or ''), 'doc': quote(doc or None),
            'path': 'NULL' if m[7] else quote(m[6]), 'cell': 'cell_' + m[6] if m[7] else 'NULL',
            'absent': quote(m[8]), 'kind': 'COLUMN_' + (m[5] or 'value').upper(), 'priority': '1' if m[1] else '0',
        })


# ---- C ----

def quote(s):
    if s is None:
        return 'NULL'
    return '"%s"' % s.replace('\\', '\\\\').replace('"', '\\"')


class Writer:
    def __init__(self, api):
        self.api = api
        self.out = []

    def put(self, *lines):
        self.out.extend(lines)

    def all_types(self):
        for gv in self.api.gvs.values():
            yield from gv.types.values()

    def order_by_pb(self, t):
        entries = [(f.pb, i) for i, f in enumerate(t.fields) if f.pb]
        entries += [(pb, len(t.fields) + i) for i, (_, pb) in enumerate(t.inlines) if pb]
        return [i for _, i in sorted(entries)]

    def tables(self):
        self.put('/* Generated by scripts/apic.py from api/. */', '#include "schema/hooks.h"', '#include "schema/types.h"', '')
        nameless = self.used(list(self.api.scalars.values()) + list(self.api.anonymous.values()))
        for t in nameless:
            self.put('static const struct schema_type %s;' % t.c)
        self.put('')
        for t in nameless:
            if not t.elem:
                self.put('static const struct schema_type %s = { .kind = SCHEMA_%s, .go_name = %s };'
                         % (t.c, t.kind, quote(t.go_name)))
                continue
            self.put('static const struct schema_type %s = { .kind = SCHEMA_%s, .go_name = %s, .elem = &%s%s };'
                     % (t.c, t.kind, quote(t.go_name), t.elem.c, self.flags('SCHEMA_TYPE_', t.flags)))
        for t in self.all_types():
            self.type(t)
        for gv in self.api.gvs.values():
            for r in gv.resources:
                self.resource(gv, r)
        self.groups()
        return '\n'.join(self.out) + '\n'

    def used(self, nameless):
        """Those of the types without a name that a table points to, in turn."""
        refs = {f.type.c for t in self.all_types() for f in t.fields} | {t.elem.c for t in self.all_types() if t.elem}
        todo = [t for t in nameless if t.c in refs]
        for t in todo:
            if t.elem and t.elem.c not in refs:
                refs.add(t.elem.c)
                todo += [e for e in nameless if e.c == t.elem.c]
        return [t for t in nameless if t.c in refs]

    @staticmethod
    def flags(prefix, flags):
        return ', .flags = ' + ' | '.join(prefix + f for f in sorted(flags)) if flags else ''

    def type(self, t):
        parts = ['.kind = SCHEMA_' + t.kind, '.name = ' + quote(t.name), '.package = ' + quote(t.package),
                 '.go_name = ' + quote(t.go_name)]
        if t.doc:
            parts.append('.doc = ' + quote(t.doc))
        if t.elem:
            parts.append('.elem = &' + t.elem.c)
        if t.values:
            self.strings(t.c + '_values', t.values)
            parts.append('.values = %s_values' % t.c)
        if t.fields:
            self.fields(t, parts)
            parts.append('.rank = %d' % t.ranks.index(None))
        if t.rules:
            self.put('static const struct schema_rule %s_rules[] = {' % t.c)
            pointers = {i for i, f in enumerate(t.fields) if 'POINTER' in f.flags and f.dflt != '""'}
            pointers -= {r[0] for r in t.rules if r[1] in ('nonempty', 'filled')}
            for place, name, each, numbers, text in t.rules:
                self.put('        { %d, SCHEMA_RULE_%s, %d, %d, %d, %s, %s },' % (
                    place, name, name in ALWAYS, each, each or place in pointers, ', '.join('%dLL' % n for n in (numbers + [0, 0])[:2]), quote(text)))
            self.put('};')
            parts.append('.rules = %s_rules, .n_rules = %d' % (t.c, len(t.rules)))
        if t.defaults:
            parts.append('.defaults = default_' + t.defaults)
        self.put('const struct schema_type %s = { %s%s };' % (t.c, ', '.join(parts), self.flags('SCHEMA_TYPE_', t.flags)))

    def fields(self, t, parts):
        self.put('static const struct schema_field %s_fields[] = {' % t.c)
        for f in t.fields:
            p = ['.name = ' + quote(f.name), '.name_len = %d' % len(f.name), '.type = &' + f.type.c]
            if f.pb:
                p.append('.pb = %d' % f.pb)
            p.append('.rank = %d' % t.ranks.index(f.name))
            for key in ('dflt', 'patch_key', 'list_keys', 'doc'):
                if getattr(f, key) is not None:
                    p.append('.%s = %s' % (key, quote(getattr(f, key))))
            if f.list_type:
                p.append('.list_type = SCHEMA_LIST_' + f.list_type.upper())
            self.put('        { %s%s },' % (', '.join(p), self.flags('SCHEMA_', f.flags)))
        self.put('};')
        by_name = sorted(range(len(t.fields)), key=lambda i: t.fields[i].name)
        by_pb = self.order_by_pb(t)
        self.numbers(t.c + '_by_name', by_name)
        parts += ['.fields = %s_fields' % t.c, '.n_fields = %d' % len(t.fields), '.by_name = %s_by_name' % t.c]
        if by_pb:
            self.numbers(t.c + '_by_pb', by_pb)
            parts += ['.by_pb = %s_by_pb' % t.c, '.n_by_pb = %d' % len(by_pb)]
        if t.inlines:
            self.put('static const struct schema_inline %s_inlines[] = { %s };'
                     % (t.c, ', '.join('{ &%s, %d }' % (i.c, pb) for i, pb in t.inlines)))
            parts += ['.inlines = %s_inlines' % t.c, '.n_inlines = %d' % len(t.inlines)]

    def numbers(self, name, values):
        self.put('static const uint16_t %s[] = { %s };' % (name, ', '.join(map(str, values))))

    def strings(self, name, values):
        self.put('static const char *const %s[] = { %s, NULL };' % (name, ', '.join(quote(v) for v in values)))

    def resource(self, gv, r):
        parts = ['.group = ' + quote(gv.group), '.version = ' + quote(gv.version), '.plural = ' + quote(r.plural),
                 '.singular = ' + quote(r.singular), '.kind = ' + quote(r.kind), '.list_kind = ' + quote(r.kind + 'List'),
                 '.type = &' + r.type.c, '.namespaced = ' + ('true' if r.namespaced else 'false')]
        if r.list_type:
            parts.append('.list_type = &' + r.list_type.c)
        else:
            parts.append('.transient = true')
        parts.append('.verbs = ' + self.verbs(r.verbs))
        for attribute, values in (('short_names', r.short), ('categories', r.category), ('select_fields', r.fields)):
            if values:
                self.strings('%s_%s' % (r.c, attribute), values)
                parts.append('.%s = %s_%s' % (attribute, r.c, attribute))
        if r.warning:
            parts.append('.warning = ' + quote(r.warning))
        if r.stored:
            parts.append('.stored_as = &' + r.stored.c)
        if r.subs:
            self.put('static const struct api_subresource %s_subs[] = {' % r.c)
            for name, t, verbs in r.subs:
                self.put('        { %s, %s, %s, %s, &%s, %s },' % (quote(name), quote(t.gv.group), quote(t.gv.version),
                                                                  quote(t.name), t.c, self.verbs(verbs)))
            self.put('};')
            parts.append('.subresources = %s_subs, .n_subresources = %d' % (r.c, len(r.subs)))
        if r.columns:
            self.put('static const struct api_column %s_columns[] = {' % r.c)
            for column in r.columns:
                self.put('        { %s },' % ', '.join('.%s = %s' % kv for kv in column.items()))
            self.put('};')
            parts.append('.columns = %s_columns, .n_columns = %d' % (r.c, len(r.columns)))
        self.put('const struct api_resource %s = { %s };' % (r.c, ', '.join(parts)))

    @staticmethod
    def verbs(verbs):
        return ' | '.join('VERB_' + v.upper() for v in verbs)

    def groups(self):
        seen = set()
        names = []
        for gv in self.api.gvs.values():
            c = 'gv_' + re.sub(r'\W', '_', gv.path)
            names.append('&' + c)
            resources = sorted(gv.resources, key=lambda r: r.plural)
            types = sorted(gv.types.values(), key=lambda t: t.name)
            if resources:
                self.put('static const struct api_resource *const %s_resources[] = { %s };'
                         % (c, ', '.join('&' + r.c for r in resources)))
            self.put('static const struct schema_type *const %s_types[] = { %s };'
                     % (c, ', '.join('&' + t.c for t in types)))
            self.put('static const struct api_group_version %s = { .group = %s, .version = %s, .resources = %s, '
                     '.n_resources = %d, .types = %s_types, .n_types = %d, .preferred = %s, .served = %s };'
                     % (c, quote(gv.group), quote(gv.version), c + '_resources' if resources else 'NULL', len(resources),
                        c, len(types), 'false' if gv.group in seen else 'true', 'true' if gv.served else 'false'))
            seen.add(gv.group)
        self.put('const struct api_group_version *const api_builtin[] = { %s };' % ', '.join(names),
                 'const size_t api_n_builtin = %d;' % len(names))

    ACCESSORS = {'STRING': 'STR', 'BYTES': 'STR', 'QUANTITY': 'STR', 'TIME': 'STR', 'MICRO_TIME': 'STR', 'DURATION': 'STR',
                 'BOOL': 'BOOL', 'INT32': 'INT', 'INT64': 'INT', 'DOUBLE': 'DOUBLE'}

    def header(self):
        out = ['/* Generated by scripts/apic.py from api/: typed accessors, and handles of types and resources.',
               ' * Accessors take NULL for "absent", so they chain: PodSpec_nodeName(Pod_spec(j)). Type_has_field() tells absent',
               ' * from zero where the API does. */', '#pragma once', '#include "schema/schema.h"', '',
               '#define ACCESSOR(T, f, type, get, name) \\',
               '        static inline _unused_ type T##_##f(const struct json *j) { return get(json_get(j, STR(name))); }',
               '#define ACCESSOR_HAS(T, f, name) \\',
               '        static inline _unused_ bool T##_has_##f(const struct json *j) { \\',
               '                return json_type(json_get(j, STR(name))) != JSON_NULL; }',
               '#define A_STR(T, f, name) ACCESSOR(T, f, struct str, json_str, name)',
               '#define A_BOOL(T, f, name) ACCESSOR(T, f, bool, json_bool, name)',
               '#define A_INT(T, f, name) ACCESSOR(T, f, int64_t, json_int, name)',
               '#define A_DOUBLE(T, f, name) ACCESSOR(T, f, double, api_double, name)',
               '#define A_JSON(T, f, name) ACCESSOR(T, f, const struct json *, , name)',
               'static inline double api_double(const struct json *j) {', '        return json_double_or(j, 0);', '}', '']
        for t in self.all_types():
            out.append('extern const struct schema_type %s;' % t.c)
            if t.kind != 'STRUCT':
                continue
            for f in t.fields:
                c = re.sub(r'\W', '_', f.name.lstrip('$'))
                kind = self.ACCESSORS.get(f.type.kind, 'JSON')
                out.append('A_%s(%s, %s, %s)' % (kind, t.accessor, c, quote(f.name)))
                if 'POINTER' in f.flags and kind != 'JSON':
                    out.append('ACCESSOR_HAS(%s, %s, %s)' % (t.accessor, c, quote(f.name)))
        out.append('')
        for gv in self.api.gvs.values():
            out += ['extern const struct api_resource %s;' % r.c for r in gv.resources]
        out += ['', '#undef A_STR', '#undef A_BOOL', '#undef A_INT', '#undef A_DOUBLE', '#undef A_JSON', '#undef ACCESSOR',
                '#undef ACCESSOR_HAS']
        return '\n'.join(out) + '\n'

    def hooks(self):
        defaults = sorted({t.defaults for t in self.all_types() if t.defaults})
        cells = sorted({c['cell'] for gv in self.api.gvs.values() for r in gv.resources for c in r.columns} - {'NULL'})
        out = ['/* Generated by scripts/apic.py from api/: the functions its files name. */', '#pragma once',
               '#include "schema/schema.h"', '']
        rules = sorted({r[1] for t in self.all_types() for r in t.rules})
        out += ['/* Rules of validation: functions of src/apiserver/validation. */',
                '#define SCHEMA_RULES(X) ' + ' '.join('X(%s)' % r for r in rules),
                '#define SCHEMA_RULE_ID(name) SCHEMA_RULE_##name,', 'enum schema_rule_id { SCHEMA_RULES(SCHEMA_RULE_ID) };', '']
        out += ['void default_%s(struct arena *a, struct json *value);' % d for d in defaults]
        out += ['struct json %s(struct arena *a, const struct json *object, int64_t now_wall_ns);' % c for c in cells]
        return '\n'.join(out) + '\n'


def main():
    if len(sys.argv) != 5:
        sys.exit('usage: apic.py API-DIR tables.c types.h hooks.h')
    try:
        api = Api(sys.argv[1])
    except Mistake as e:
        sys.exit('apic: %s' % e)
    w = Writer(api)
    for path, text in zip(sys.argv[2:], (w.tables(), w.header(), w.hooks())):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)


main()
