// The models of the server and what they can.
import { computed, signal } from '@preact/signals';
import { getJson } from '../api/http';
import type { Limits, ModelFacts } from '../types';
import { modelName } from './settings';

export const modelIds = signal<string[]>([]);
export const limits = signal<Limits>({ file_bytes: 32 << 20, files: 64 });
export const problem = signal('');
const facts = signal<Record<string, ModelFacts>>({});

/** The chosen model, or the server's first one where it has no such model. */
export const model = computed(() =>
  modelIds.value.includes(modelName.value) ? modelName.value : (modelIds.value[0] ?? ''));

/** Nothing until they are known. */
export const modelFacts = computed<ModelFacts | undefined>(() => facts.value[model.value]);

export async function loadModels(): Promise<void> {
  try {
    const [list, props] = await Promise.all([
      getJson<{ data: { id: string }[] }>('/v1/models'),
      getJson<{ models: ModelFacts[]; limits: Limits }>('/props'),
    ]);
    facts.value = Object.fromEntries(props.models.map((row) => [row.id, row]));
    limits.value = props.limits;
    modelIds.value = list.data.map((row) => row.id);
    problem.value = '';
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
  }
}
