-- SURFACE, deletions: what nobody gets back. Locks: the flow's name, against deploys and against starts; then runs by id.

-- A flow (or a machine, or a job) and every run of it that there ever was. Live runs are cancelled first, so that parents,
-- children and workers hear of it; its queue goes with it. Schedules stay, for one of the same name may come.
create or replace function pgflow.delete_flow_and_data(p_flow_slug text) returns void
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  ids uuid[];
begin
  perform pg_advisory_xact_lock(1, hashtext(p_flow_slug));
  perform pg_advisory_xact_lock(2, hashtext(p_flow_slug));   -- a start that is under way (hold_flow) ends before
  perform pgflow.cancel_runs(array(
    select r.run_id from pgflow.runs r where r.flow_slug = p_flow_slug and r.status || '' = 'started'), 'its flow was deleted');
  ids := array(select r.run_id from pgflow.runs r where r.flow_slug = p_flow_slug order by r.run_id for update);
  for n in 1 .. cardinality(ids) by 10000 loop
    perform pgflow.forget_runs(ids[n : n + 9999]);
  end loop;
  delete from pgflow.deps d where d.flow_slug = p_flow_slug;
  delete from pgflow.steps s where s.flow_slug = p_flow_slug;
  delete from pgflow.lanes l using pgflow.versions v where v.flow_slug = p_flow_slug and l.version_id = v.version_id;
  delete from pgflow.versions v where v.flow_slug = p_flow_slug;
  delete from pgflow.limits l where l.kind = 'flow' and l.name = p_flow_slug;
  delete from pgflow.archiving a where a.flow_slug = p_flow_slug;
  delete from pgflow.pauses p where p.kind = 'flow' and p.name = p_flow_slug;
  perform pgflow.conceal_flow(p_flow_slug);
  delete from pgflow.flows f where f.flow_slug = p_flow_slug;
  if found then
    perform pgflow.write_audit(
      pgflow.now(), null, 'delete', 'flow', p_flow_slug, null, jsonb_build_object('runs', cardinality(ids)));
  end if;
end
$$;

-- Whoever starts runs of a flow holds it until the end of the transaction: who deletes it waits. Starts do not wait for
-- each other, nor for a deploy.
create or replace function pgflow.hold_flow(flow_slug text) returns boolean
language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(2, hashtext(flow_slug));
  return true;
end
$$;

-- Forget ended runs, which the caller holds, and all that they own. What stays are the audit trail, their children and
-- their restarts, which go on naming them.
create or replace function pgflow.forget_runs(ids uuid[]) returns void
language plpgsql as $$
begin
  delete from pgflow.step_tasks t where t.run_id = any (ids);
  delete from pgflow.step_states s where s.run_id = any (ids);
  delete from pgflow.attempts a where a.run_id = any (ids);
  delete from pgflow.progress p where p.run_id = any (ids);
  delete from pgflow.logs l where l.run_id = any (ids);
  delete from pgflow.signals s where s.run_id = any (ids);
  delete from pgflow.joins j where j.run_id = any (ids);
  delete from pgflow.archive_refusals f where f.run_id = any (ids);
  delete from pgflow.runs r where r.run_id = any (ids);
end
$$;

-- Forget workers that have not been heard of, and runs that ended, for longer than this. What somebody may still ask for stays
-- (may_go), and so does what goes with its archive.
create or replace function pgflow.prune_data_older_than(retention_interval interval) returns void
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  at constant timestamptz := pgflow.now();
  cutoff constant timestamptz := at - retention_interval;
  page uuid[];
  last uuid := '00000000-0000-0000-0000-000000000000';
begin
  delete from pgflow.workers w
  where w.worker_id = any (array(
    select o.worker_id from pgflow.workers o where o.last_heartbeat_at < cutoff order by o.worker_id for update skip locked));
  loop
    page := array(
      select r.run_id from pgflow.runs r
      where r.run_id > last and r.status <> 'started' and coalesce(r.completed_at, r.failed_at, r.cancelled_at) < cutoff
        and r.flow_slug <> all (array(select f.flow_slug from pgflow.flows f where f.opt_archive))
      order by r.run_id limit 10000);
    exit when page = '{}';
    perform pgflow.forget_runs(pgflow.may_go(page, cutoff, at));
    last := page[cardinality(page)];
  end loop;
end
$$;
