-- What can run: flows, their versions, and the steps and edges of each version.
-- Column and constraint names are pgflow's where pgflow has them. A version is one shape of a flow;
-- a changed shape is a new version beside the old one, and a run keeps the version it started with.

create function pgflow.is_valid_slug(slug text) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return slug is not null
    and slug <> ''
    and length(slug) <= 128
    and slug ~ '^[a-zA-Z_][a-zA-Z0-9_]*$'
    and slug <> 'run';
end
$$;

create table pgflow.flows (
  flow_slug text not null,
  opt_max_attempts int not null default 3,
  opt_base_delay int not null default 1,
  opt_timeout int not null default 60,
  created_at timestamptz not null default now(),
  kind text not null default 'flow',
  version_id int,                            -- the version that a start by name gets
  opt_max_delay int,                         -- cap of a retry delay, null: none
  opt_jitter real not null default 0,        -- 0.2 spreads a retry delay by up to a fifth
  opt_max_crashes int not null default 3,    -- lost workers a task survives
  deployed_options jsonb,                    -- what the code said last: a value tuned by hand stays until the code changes
  constraint flows_pkey primary key (flow_slug),
  constraint slug_is_valid check (pgflow.is_valid_slug(flow_slug)),
  constraint opt_max_attempts_is_nonnegative check (opt_max_attempts >= 0),
  constraint opt_base_delay_is_nonnegative check (opt_base_delay >= 0),
  constraint opt_timeout_is_positive check (opt_timeout > 0),
  constraint opt_max_delay_is_nonnegative check (opt_max_delay >= 0),
  constraint opt_jitter_is_a_fraction check (opt_jitter between 0 and 1),
  constraint opt_max_crashes_is_nonnegative check (opt_max_crashes >= 0),
  constraint kind_is_valid check (kind in ('flow', 'machine', 'job'))
);

create table pgflow.versions (
  version_id int generated always as identity,
  flow_slug text not null,
  version int not null,
  created_at timestamptz not null default now(),
  queue text,                                -- null: the queue is named like the flow
  can_fail_early boolean not null default false,  -- a step can end its run without failing an attempt (plan_flow.sql)
  constraint versions_pkey primary key (version_id),
  constraint versions_flow_slug_version_key unique (flow_slug, version),
  constraint versions_flow_slug_fkey foreign key (flow_slug) references pgflow.flows (flow_slug)
);

create table pgflow.steps (
  flow_slug text not null,
  step_slug text not null,
  step_type text not null default 'single',
  step_index int not null default 0,
  deps_count int not null default 0,
  opt_max_attempts int,
  opt_base_delay int,
  opt_timeout int,
  opt_start_delay int,
  required_input_pattern jsonb,
  forbidden_input_pattern jsonb,
  when_unmet text not null default 'skip',
  when_exhausted text not null default 'fail',
  created_at timestamptz not null default now(),
  version_id int not null,
  takes_input boolean,                       -- the handler wants the flow input; null: pgflow's rule (root single steps)
  opt_max_delay int,
  opt_jitter real,
  deployed_options jsonb,
  constraint steps_pkey primary key (version_id, step_slug),
  constraint steps_flow_slug_step_index_key unique (version_id, step_index),
  constraint steps_flow_slug_fkey foreign key (flow_slug) references pgflow.flows (flow_slug),
  constraint steps_version_id_fkey foreign key (version_id) references pgflow.versions (version_id),
  constraint steps_step_slug_check check (pgflow.is_valid_slug(step_slug)),
  constraint steps_step_type_check check (step_type in ('single', 'map')),
  constraint steps_deps_count_check check (deps_count >= 0),
  constraint opt_max_attempts_is_nonnegative check (opt_max_attempts >= 0),
  constraint opt_base_delay_is_nonnegative check (opt_base_delay >= 0),
  constraint opt_timeout_is_positive check (opt_timeout > 0),
  constraint opt_start_delay_is_nonnegative check (opt_start_delay >= 0),
  constraint opt_max_delay_is_nonnegative check (opt_max_delay >= 0),
  constraint opt_jitter_is_a_fraction check (opt_jitter between 0 and 1),
  constraint required_input_pattern_is_object check (
    required_input_pattern is null or jsonb_typeof(required_input_pattern) = 'object'),
  constraint forbidden_input_pattern_is_object check (
    forbidden_input_pattern is null or jsonb_typeof(forbidden_input_pattern) = 'object'),
  constraint when_unmet_is_valid check (when_unmet in ('fail', 'skip', 'skip-cascade')),
  constraint when_exhausted_is_valid check (when_exhausted in ('fail', 'skip', 'skip-cascade'))
);
create index idx_steps_flow_slug on pgflow.steps (flow_slug, step_slug);

create table pgflow.deps (
  flow_slug text not null,
  dep_slug text not null,                    -- the parent
  step_slug text not null,                   -- the dependent
  created_at timestamptz not null default now(),
  version_id int not null,
  constraint deps_pkey primary key (version_id, dep_slug, step_slug),
  constraint deps_flow_slug_fkey foreign key (flow_slug) references pgflow.flows (flow_slug),
  constraint deps_flow_slug_dep_slug_fkey foreign key (version_id, dep_slug)
    references pgflow.steps (version_id, step_slug),
  constraint deps_flow_slug_step_slug_fkey foreign key (version_id, step_slug)
    references pgflow.steps (version_id, step_slug),
  constraint deps_check check (dep_slug <> step_slug)
);
create index idx_deps_by_flow_step on pgflow.deps (version_id, step_slug);
