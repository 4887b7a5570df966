-- UPSERT: flows that are made of data while programs run, and the handlers that serve them by a pattern.
-- Locks: the flow's name; then as deploy.sql and surface_delete.sql have them.

-- The flow of this shape is what a start by name gets from now on. `compiled`: there was none by this name; `verified`: it was
-- just so; `recompiled`: it was another one, which stays as a version beside it, for its runs. With `replace` whatever there
-- was is deleted first, with every run of it, also when it is the same. `before` is the structure that was current.
create or replace function pgflow.upsert_flow(shape jsonb, replace boolean default false, actor text default null)
returns table (status text, version_id int, version int, before jsonb, queue_before text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  slug constant text := shape ->> 'slug';
  was record;
  made record;
begin
  perform pg_advisory_xact_lock(1, hashtext(slug));
  perform pgflow.check_kind(slug, 'flow');
  select v.version_id, v.queue, pgflow.structure_of(v.version_id) as structure into was
  from pgflow.flows f join pgflow.versions v on v.version_id = f.version_id where f.flow_slug = slug;
  if replace then
    perform pgflow.delete_flow(slug, actor);
  end if;
  select * into made from pgflow.ensure_flow(shape);
  return query select
    case when was.version_id is null then 'compiled' when was.version_id = made.version_id then 'verified' else 'recompiled' end,
    made.version_id, made.version, was.structure, was.queue;
end
$$;

-- A flow, machine or job with every run of it; false: there was none.
create or replace function pgflow.delete_flow(flow_slug text, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  known constant boolean := pgflow.flow_exists(flow_slug);
  who constant text := current_setting('pgflow.actor', true);
begin
  if known then
    perform set_config('pgflow.actor', coalesce(actor, who, ''), true);
    perform pgflow.delete_flow_and_data(flow_slug);
    perform set_config('pgflow.actor', coalesce(who, ''), true);
  end if;
  return known;
end
$$;

create or replace function pgflow.flow_exists(flow_slug text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (select from pgflow.flows f where f.flow_slug = flow_exists.flow_slug);
end
$$;

-- The versions of all flows whose slug matches one of these regular expressions. Who asks has the structures of those in
-- `known`, with so many steps (add_step may have added one since), or -1: does not want it. There it is null.
create or replace function pgflow.versions_like(patterns text[], known int[], steps int[])
returns table (flow_slug text, version_id int, version int, queue text, kind text, structure jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  return query
  select f.flow_slug, v.version_id, v.version, coalesce(v.queue, v.flow_slug), f.kind,
    case when k.id is null or k.steps >= 0 and k.steps <> (select count(*) from pgflow.steps s where s.version_id = v.version_id)
      then pgflow.structure_of(v.version_id) end
  from pgflow.flows f
  join pgflow.versions v on v.flow_slug = f.flow_slug
  left join unnest(known, versions_like.steps) k (id, steps) on k.id = v.version_id
  where f.kind = 'flow' and f.flow_slug collate "C" ~ any (patterns);
end
$$;

-- These steps have handlers that look at the flow's input, whatever was said when the flow was made.
create or replace function pgflow.want_inputs(versions int[], step_slugs text[]) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  changed int;
begin
  update pgflow.steps s set takes_input = true
  from unnest(versions, step_slugs) w (version, slug)
  where s.version_id = any (array[w.version]) and s.step_slug = w.slug
    and coalesce(s.takes_input, s.deps_count = 0 and s.step_type = 'single') is not true;
  get diagnostics changed = row_count;
  return changed;
end
$$;
